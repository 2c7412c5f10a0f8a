"""`segsvc layers`."""

from typing import Any

import click

from segsvc.cli import client, percents
from segsvc.cli.output import echo, with_json

REDEAL = click.option(
    "--redeal", is_flag=True, help="Percentages may take other users than before."
)


@click.group()
def layers() -> None:
    """Keep segments apart: a user is in at most one segment of a layer.

    By hand, the segment that a user was added to last holds, and the others are suspended. The
    percentages of a layer take different users, 100 % together at most.

    \b
    Examples:
      segsvc layers create DISCOUNTS DISCOUNT_30 DISCOUNT_50
      segsvc layers set-percents DISCOUNTS DISCOUNT_30=20 DISCOUNT_50=80
      segsvc layers show DISCOUNTS
    """  # noqa: D301 (click reads the backspace)


@layers.command()
@click.argument("layer")
@click.argument("segments", nargs=-1, required=True)
@REDEAL
@with_json
def create(layer: str, segments: tuple[str, ...], *, redeal: bool) -> None:
    """Form the layer LAYER over SEGMENTS, which may have members and percentages already.

    The first of them that has a percentage keeps its users. The percentages of the others take
    other users than before, which needs --redeal: without it, the refusal says how many.
    """
    body = {"slug": layer, "segments": segments, "redeal": redeal}
    _show("POST", client.path("layers"), json=body)


@layers.command("list")
@with_json
def list_layers() -> None:
    """List the live layers with their segments."""

    async def work() -> None:
        async for page in client.pages(client.path("layers")):
            for layer in page["layers"]:
                echo(layer, f"{layer['slug']:<32}  {' '.join(layer['segments'])}".rstrip())

    client.run(work())


@layers.command()
@click.argument("layer")
@click.option("--at", help="As of a time, such as 2026-12-01T09:00:00+03:00.")
@with_json
def show(layer: str, at: str | None) -> None:
    """Show the segments of LAYER with their percentages, and what is free."""
    _show("GET", client.path("layers", layer), params={"at": at} if at else {})


@layers.command()
@click.argument("layer")
@click.argument("segments", nargs=-1, required=True)
@REDEAL
@with_json
def add(layer: str, segments: tuple[str, ...], *, redeal: bool) -> None:
    """Put SEGMENTS into LAYER."""
    _change(layer, {"add": segments, "redeal": redeal})


@layers.command()
@click.argument("layer")
@click.argument("segments", nargs=-1, required=True)
@REDEAL
@with_json
def remove(layer: str, segments: tuple[str, ...], *, redeal: bool) -> None:
    """Take SEGMENTS out of LAYER."""
    _change(layer, {"remove": segments, "redeal": redeal})


@layers.command("set-percents")
@click.argument("layer")
@click.argument("shares", nargs=-1, required=True, metavar="SEGMENT=PERCENT...")
@click.option(
    "--plan",
    type=click.Choice(["keep", "cancel"]),
    help="What becomes of plans: they go on with their next step, or are cancelled.",
)
@with_json
def set_percents(layer: str, shares: tuple[str, ...], plan: str | None) -> None:
    """Set percentages of segments of LAYER at one instant; `none` makes a segment manual.

    Users of a segment that grows stay, and those of other segments too.
    """
    wanted = {}
    for share in shares:
        segment, sign, percent = share.partition("=")
        if not sign or segment in wanted:
            raise click.BadParameter(
                f"{share!r} is not one SEGMENT=PERCENT for each segment, such as DISCOUNT_30=20",
                param_hint="SEGMENT=PERCENT",
            )
        wanted[segment] = percents.given(percent)
    _change(layer, {"percents": wanted} | ({"plan": plan} if plan else {}))


@layers.command()
@click.argument("layer")
@REDEAL
@click.confirmation_option(prompt="The segments would share users again. Delete the layer?")
def delete(layer: str, *, redeal: bool) -> None:
    """Delete LAYER; its segments go on without it."""

    async def work() -> None:
        params = {"redeal": redeal}
        await client.call("DELETE", client.path("layers", layer), params=params)
        click.echo(f"deleted {layer}")

    client.run(work())


def _change(layer: str, change: dict[str, Any]) -> None:
    _show("PATCH", client.path("layers", layer), json=change)


def _show(method: str, path: str, **sent: Any) -> None:
    """Send a request and show the layer in its answer."""

    async def work() -> None:
        layer = await client.call(method, path, **sent)
        shares = [(each["slug"], each["percent"]) for each in layer["segments"]]
        lines = [
            f"{slug:<32}  {percents.shown(percent):>7}"
            for slug, percent in [*shares, ("free", layer["free"])]
        ]
        echo(layer, "\n".join(lines))

    client.run(work())
