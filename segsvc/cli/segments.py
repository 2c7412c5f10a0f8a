"""`segsvc segments`."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import click

from segsvc.cli import client, percents


class _SpanType(click.ParamType[timedelta]):
    name = "span"

    def convert(
        self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,4})([mhdw])", value)
        if not found:
            self.fail(f"{value!r} is not a number and m, h, d or w, such as 12h", param, ctx)
        units = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
        return timedelta(**{units[found[2]]: int(found[1])})


@click.group()
def segments() -> None:
    """Create, list, change and delete segments.

    \b
    Examples:
      segsvc segments create VOICE_MESSAGES --percent 10
      segsvc segments set-percent VOICE_MESSAGES 25
      segsvc segments plan VOICE_MESSAGES --ramp 50,100 --every 7d --from 2026-12-01T09:00:00Z
    """  # noqa: D301 (click reads the backspace)


@segments.command("list")
def list_segments() -> None:
    """List the live segments: slug, percentage, description, planned end."""

    async def work() -> None:
        async for page in client.pages(client.path("segments")):
            for segment in page["segments"]:
                click.echo(_line(segment))

    client.run(work())


@segments.command()
@click.argument("slug")
@click.option(
    "--percent", type=percents.PercentType(), help="The percentage of users to take in, 0 to 100."
)
@click.option("--description", default="", help="What the segment is for.")
def create(slug: str, percent: Decimal | None, description: str) -> None:
    """Create the segment SLUG, such as VOICE_MESSAGES."""
    body = {"slug": slug, "description": description, "percent": percents.number(percent)}

    async def work() -> None:
        click.echo(_line(await client.call("POST", client.path("segments"), json=body)))

    client.run(work())


@segments.command()
@click.argument("slug")
@click.confirmation_option(prompt="All users will leave the segment. Delete it?")
def delete(slug: str) -> None:
    """Delete the segment SLUG: all users leave it at once."""

    async def work() -> None:
        await client.call("DELETE", client.path("segments", slug))
        click.echo(f"deleted {slug}")

    client.run(work())


@segments.command("set-percent")
@click.argument("slug")
@click.argument("percent")
@click.option(
    "--plan",
    type=click.Choice(["keep", "cancel"]),
    help="What becomes of a plan: keep it from its next step on, or cancel it.",
)
def set_percent(slug: str, percent: str, plan: str | None) -> None:
    """Take PERCENT of all users into the segment SLUG automatically.

    Users who were added or removed by hand stay in or out at any percentage. 0 takes nobody;
    `none` makes the segment manual again.
    """
    _change(slug, {"percent": percents.given(percent)} | ({"plan": plan} if plan else {}))


@segments.command("set-end")
@click.argument("slug")
@click.argument("ends_at")
def set_end(slug: str, ends_at: str) -> None:
    """Plan the end of the segment SLUG: at ENDS_AT, all users leave it and its slug is free.

    ENDS_AT is a time such as 2026-12-31T23:59:59+03:00; `none` lifts the end.
    """
    _change(slug, {"ends_at": None if ends_at == "none" else ends_at})


@segments.command()
@click.argument("slug")
@click.option("--ramp", help="The percentages one after the other, such as 1,5,25,100 or 10,none.")
@click.option("--every", type=_SpanType(), help="The time between two of them: 30m, 12h, 1d, 2w.")
@click.option("--from", "start", help="When the first begins, such as 2026-12-01T09:00:00+03:00.")
@click.option("--cancel", is_flag=True, help="Cancel what is planned.")
def plan(
    slug: str, ramp: str | None, every: timedelta | None, start: str | None, *, cancel: bool
) -> None:
    """Plan the percentage of the segment SLUG, show the plan or cancel it.

    The steps come into force by themselves. A new plan replaces the old one as a whole.

    \b
    Example:
      segsvc segments plan SLUG --ramp 1,5,25,100 --every 1d --from 2026-12-01T09:00:00+03:00
    """  # noqa: D301 (click reads the backspace)
    if (ramp is None) != (start is None) or (cancel and ramp):
        raise click.UsageError("give --ramp and --from, or --cancel, or none of them")
    path = client.path("segments", slug, "plan")
    ramped = ramp.split(",") if ramp else []
    if len(ramped) > 1 and every is None:
        raise click.UsageError("give --every, the time between two steps")

    async def work() -> None:
        if cancel:
            await client.call("DELETE", path)
            click.echo(f"nothing is planned for {slug}")
            return
        if start is None:
            answer = await client.call("GET", path)
        else:
            steps = [
                {"at": at, "percent": percents.given(percent)}
                for percent, at in zip(ramped, _times(start, every), strict=False)
            ]
            answer = await client.call("PUT", path, json={"steps": steps})
        for step in answer["steps"]:
            percent = "manual" if step["percent"] is None else percents.shown(step["percent"])
            click.echo(f"{step['at']}  {percent:>8}")
        if not answer["steps"]:
            click.echo(f"nothing is planned for {slug}")

    client.run(work())


def _change(slug: str, changes: dict[str, Any]) -> None:
    async def work() -> None:
        click.echo(_line(await client.call("PATCH", client.path("segments", slug), json=changes)))

    client.run(work())


def _times(start: str, every: timedelta | None) -> Iterator[str]:
    """Yield the times of a ramp.

    Raises:
        BadParameter: `start` is not a time with an offset, or a step is after year 9999.
    """
    try:
        at = datetime.fromisoformat(start)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise click.BadParameter(
            f"{start!r} is not a time such as 2026-12-01T09:00:00+03:00", param_hint="--from"
        )
    while True:
        yield at.isoformat()
        try:
            at += every or timedelta()
        except OverflowError:
            raise click.BadParameter(
                "the ramp ends after year 9999", param_hint="--every"
            ) from None


def _line(segment: dict[str, Any]) -> str:
    percent = percents.shown(segment["percent"])
    end = f"  ends at {segment['ends_at']}" if segment["ends_at"] else ""
    return f"{segment['slug']:<32}  {percent:>7}  {segment['description']}".rstrip() + end
