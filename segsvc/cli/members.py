"""`segsvc members`."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, BinaryIO

import click

from segsvc.cli import client
from segsvc.cli.files import progress, whole_file
from segsvc.cli.output import echo, with_json

# Bytes.
PIECE = 64 * 1024


@click.group()
def members() -> None:
    """Add, remove, replace and list the users of a segment, up to millions in one file.

    A file has one user id a line, or is CSV with a header that has a column `user_id`. Gzip is
    accepted. A file is applied as a whole or not at all, and applying it again is safe.

    \b
    Examples:
      segsvc members add VOICE_MESSAGES users.csv --ttl 172800
      segsvc members list VOICE_MESSAGES | segsvc members add DISCOUNT_30
    """  # noqa: D301 (click reads the backspace)


# Options of what changes many members: a set of users instead of a file, and a dry run.
_SETS = (
    click.option("--any-of", multiple=True, metavar="SEGMENT", help="Users in one of these."),
    click.option("--all-of", multiple=True, metavar="SEGMENT", help="Users in all of these."),
    click.option("--none-of", multiple=True, metavar="SEGMENT", help="Not those in one of these."),
    click.option("--at", help="As of a past time, such as 2026-11-23T09:00:00+03:00."),
    click.option("--dry-run", is_flag=True, help="Only count what would change."),
    with_json,
)


def _changing(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_SETS):
        command = option(command)
    command = click.argument("file", type=click.File("rb"), default="-")(command)
    return click.argument("slug")(command)


ON_CONFLICT = click.option(
    "--on-conflict",
    type=click.Choice(["refuse", "move", "suspend", "skip"]),
    help="What becomes of users who are in another segment of the layer.",
)


@members.command()
@_changing
@click.option("--starts-at", help="From a time on, such as 2026-12-01T09:00:00+03:00.")
@click.option("--ttl", type=int, help="Until so many seconds from the start.")
@click.option("--expires-at", help="Until a time, such as 2026-12-01T00:00:00Z.")
@ON_CONFLICT
def add(slug: str, file: BinaryIO, **given: Any) -> None:
    """Add the users of FILE to the segment SLUG; - is standard input.

    Without --ttl and --expires-at they stay for ever. Adding again moves the end. With --starts-at
    it is a plan: until then, a later command for the same users replaces it.

    Instead of a FILE, --any-of, --all-of and --none-of take users from other segments.

    If users of the file are by hand in another segment of the layer, the file is refused, and its
    lines are named. --on-conflict move ends those memberships, suspend lets them go on afterwards,
    and skip leaves these users out.
    """
    _change("POST", client.path("segments", slug, "members", "add"), file, given)


@members.command()
@_changing
def remove(slug: str, file: BinaryIO, **given: Any) -> None:
    """Remove the users of FILE from the segment SLUG; - is standard input.

    They stay out at any later percentage, until they are added again. In a segment without a
    percentage, nothing changes for a user who is not in it.

    Instead of a FILE, --any-of, --all-of and --none-of take users from other segments.
    """
    _change("POST", client.path("segments", slug, "members", "remove"), file, given)


@members.command()
@_changing
@ON_CONFLICT
@click.option("--allow-empty", is_flag=True, help="A list without users removes everybody.")
def replace(slug: str, file: BinaryIO, **given: Any) -> None:
    """Make the users of FILE the members of SLUG: add who is missing, remove everybody else.

    `added` also counts users who were in by percentage, or with another end: they stay for ever
    now, until another command.

    \b
    Examples:
      segsvc members replace VOICE_MESSAGES users.csv --dry-run
      segsvc members replace REST --any-of EVERYBODY --none-of DISCOUNT_30 --none-of DISCOUNT_50
    """  # noqa: D301 (click reads the backspace)
    _change("PUT", client.path("segments", slug, "members"), file, given)


@members.command("list")
@click.argument("slug")
@click.argument("file", default="-")
@click.option("--at", help="As of a time, such as 2026-12-01T09:00:00+03:00.")
@click.option(
    "--source", type=click.Choice(["manual", "rollout"]), help="By hand or by percentage."
)
def list_members(slug: str, file: str, **given: str | None) -> None:
    """Write who is in the segment SLUG to FILE as CSV; - is standard output.

    The columns are user_id, source (manual or rollout), since and expires_at.
    """

    async def work() -> None:
        path, headers = client.path("segments", slug, "members"), {"Accept": "text/csv"}
        async with client.request("GET", path, params=given, headers=headers) as response:
            with whole_file(file) as write, progress("receiving lines") as advance:
                async for piece in response.content.iter_any():
                    write(piece)
                    advance(piece.count(b"\n"))

    client.run(work())


def _change(method: str, path: str, file: BinaryIO, given: dict[str, Any]) -> None:
    """Change members for the users of a file, or of other segments if some are given."""
    parts = {name: given.pop(name) for name in ("any_of", "all_of", "none_of")}
    at = given.pop("at")
    body = {"from": parts} | ({"at": at} if at else {})
    if at and not any(parts.values()):
        raise click.UsageError("--at needs --any-of or --all-of")

    async def work() -> None:
        if any(parts.values()):
            sent = {"json": body}
            _say("changing the members ...")
        else:
            sent = await _file(file)
        done = await client.call(method, path, params=given, **sent)
        counts = ", ".join(f"{name} {done[name]}" for name in done if name != "dry_run")
        echo(done, f"would be: {counts}" if "dry_run" in done else counts)

    client.run(work())


async def _file(file: BinaryIO) -> dict[str, Any]:
    # The program that writes the file may start late; the service would not wait for so long.
    first = await asyncio.to_thread(file.read, PIECE)
    return {"data": _pieces(file, first), "headers": {"Content-Type": "text/csv"}}


async def _pieces(file: BinaryIO, piece: bytes) -> AsyncIterator[bytes]:
    """Yield a file, piece by piece, with a progress bar."""
    with progress("sending bytes", os.fstat(file.fileno()).st_size) as advance:
        while piece:
            yield piece
            advance(len(piece))
            piece = await asyncio.to_thread(file.read, PIECE)
    _say("changing the members ...")


def _say(what: str) -> None:
    """Say on a terminal what takes some time."""
    if sys.stderr.isatty():
        click.echo(what, err=True)
