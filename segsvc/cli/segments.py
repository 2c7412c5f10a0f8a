"""`segsvc segments`."""

from decimal import Decimal, InvalidOperation
from typing import Any

import click

from segsvc.cli import client


class _PercentType(click.ParamType[Decimal]):
    name = "percent"

    def convert(
        self, value: str | Decimal, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        try:
            return Decimal(value)
        except InvalidOperation:
            self.fail(f"{value!r} is not a number", param, ctx)


@click.group()
def segments() -> None:
    """Create, list, change and delete segments.

    \b
    Examples:
      segsvc segments create VOICE_MESSAGES --percent 10
      segsvc segments set-percent VOICE_MESSAGES 25
    """  # noqa: D301 (click reads the backspace)


@segments.command("list")
def list_segments() -> None:
    """List the live segments: slug, percentage, description."""

    async def work() -> None:
        async for page in client.pages(client.path("segments")):
            for segment in page["segments"]:
                click.echo(_line(segment))

    client.run(work())


@segments.command()
@click.argument("slug")
@click.option(
    "--percent", type=_PercentType(), help="The percentage of users to take in, 0 to 100."
)
@click.option("--description", default="", help="What the segment is for.")
def create(slug: str, percent: Decimal | None, description: str) -> None:
    """Create the segment SLUG, such as VOICE_MESSAGES."""
    body = {"slug": slug, "description": description, "percent": _number(percent)}

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
def set_percent(slug: str, percent: str) -> None:
    """Take PERCENT of all users into the segment SLUG automatically.

    Users who were added or removed by hand stay in or out at any percentage. 0 takes nobody;
    `none` makes the segment manual again.
    """
    number = None if percent == "none" else _PercentType()(percent)

    async def work() -> None:
        body = {"percent": _number(number)}
        click.echo(_line(await client.call("PATCH", client.path("segments", slug), json=body)))

    client.run(work())


def _number(percent: Decimal | None) -> float | None:
    return None if percent is None else float(percent)


def _line(segment: dict[str, Any]) -> str:
    percent = "-" if segment["percent"] is None else f"{segment['percent']:g} %"
    return f"{segment['slug']:<32}  {percent:>7}  {segment['description']}".rstrip()
