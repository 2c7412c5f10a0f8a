"""`segsvc segments`."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import click

from segsvc.cli import client, percents
from segsvc.cli.output import as_json, echo, with_json


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
@click.option("--q", help="Only those with this in the slug or the description.")
@click.option(
    "--sort",
    type=click.Choice(["slug", "created_at", "members"]),
    default="slug",
    show_default=True,
    help="By slug, or the newest or largest first.",
)
@with_json
def list_segments(q: str | None, sort: str) -> None:
    """List the live segments: slug, percentage, description, planned end."""
    query = {"sort": sort} | ({"q": q} if q else {})

    async def work() -> None:
        async for page in client.pages(client.path("segments"), **query):
            for segment in page["segments"]:
                members = f"{segment['members']:>9}  " if "members" in segment else ""
                echo(segment, members + _line(segment))

    client.run(work())


@segments.command()
@click.argument("slug")
@click.option(
    "--percent", type=percents.PercentType(), help="The percentage of users to take in, 0 to 100."
)
@click.option("--description", default="", help="What the segment is for.")
@with_json
def create(slug: str, percent: Decimal | None, description: str) -> None:
    """Create the segment SLUG, such as VOICE_MESSAGES."""
    body = {"slug": slug, "description": description, "percent": percents.number(percent)}

    _create(body)


@segments.command()
@click.argument("source")
@click.argument("slug")
@click.option("--at", help="The members as of a past time, such as 2026-11-23T09:00:00+03:00.")
@click.option("--description", default="", help="What the new segment is for.")
@with_json
def copy(source: str, slug: str, at: str | None, description: str) -> None:
    """Create the segment SLUG with the members of SOURCE, all of them by hand.

    With --at, SOURCE may have been deleted since.
    """
    body = {"slug": slug, "description": description, "from": {"any_of": [source]}}
    _create(body | ({"at": at} if at else {}))


@segments.command()
@click.argument("slug")
@click.option("--from", "start", help="The first step is the one that this time is in.")
@click.option("--to", help="The end; now without it.")
@click.option(
    "--step",
    type=click.Choice(["hour", "day", "week"]),
    default="day",
    show_default=True,
    help="The length of a step; steps are in UTC.",
)
@with_json
def stats(slug: str, start: str | None, to: str | None, step: str) -> None:
    """Count for each day who was in the segment SLUG at its end, who joined and who left.

    Without --from, these are the last 30 steps. Users by percentage are the known ones.
    """
    given = {"from": start, "to": to, "step": step}

    async def work() -> None:
        path = client.path("segments", slug, "stats")
        if not as_json():
            click.echo(f"{'from':<27}  {'members':>9}  {'by hand':>9}  {'joined':>9}  {'left':>9}")
        for row in (await client.call("GET", path, params=given))["stats"]:
            counts = (row[name] for name in ("members", "by_hand", "joined", "left"))
            echo(row, "  ".join([row["at"], *(f"{count:>9}" for count in counts)]))

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
@with_json
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
@with_json
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
@with_json
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
            answer: Any = {"steps": []}
        elif start is None:
            answer = await client.call("GET", path)
        else:
            steps = [
                {"at": at, "percent": percents.given(percent)}
                for percent, at in zip(ramped, _times(start, every), strict=False)
            ]
            answer = await client.call("PUT", path, json={"steps": steps})
        for step in answer["steps"]:
            percent = "manual" if step["percent"] is None else percents.shown(step["percent"])
            echo(step, f"{step['at']}  {percent:>8}")
        if not answer["steps"] and not as_json():
            click.echo(f"nothing is planned for {slug}")

    client.run(work())


def _create(body: dict[str, Any]) -> None:
    _show("POST", client.path("segments"), body)


def _change(slug: str, changes: dict[str, Any]) -> None:
    _show("PATCH", client.path("segments", slug), changes)


def _show(method: str, path: str, body: dict[str, Any]) -> None:
    """Send a request and show the segment in its answer."""

    async def work() -> None:
        segment = await client.call(method, path, json=body)
        echo(segment, _line(segment))

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
