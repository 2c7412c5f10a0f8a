"""`segsvc members`."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import BinaryIO

import click

from segsvc.cli import client
from segsvc.cli.files import progress, whole_file

# Bytes.
PIECE = 64 * 1024


@click.group()
def members() -> None:
    """Add, remove and list the users of a segment, up to millions in one file.

    A file has one user id a line, or is CSV with a header that has a column `user_id`. Gzip is
    accepted. A file is applied as a whole or not at all, and applying it again is safe.

    \b
    Examples:
      segsvc members add VOICE_MESSAGES users.csv --ttl 172800
      segsvc members list VOICE_MESSAGES | segsvc members add DISCOUNT_30
    """  # noqa: D301 (click reads the backspace)


@members.command()
@click.argument("slug")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--starts-at", help="From a time on, such as 2026-12-01T09:00:00+03:00.")
@click.option("--ttl", type=int, help="Until so many seconds from the start.")
@click.option("--expires-at", help="Until a time, such as 2026-12-01T00:00:00Z.")
@click.option(
    "--on-conflict",
    type=click.Choice(["refuse", "move", "suspend", "skip"]),
    help="What becomes of users who are in another segment of the layer.",
)
def add(slug: str, file: BinaryIO, **given: str | int | None) -> None:
    """Add the users of FILE to the segment SLUG; - is standard input.

    Without --ttl and --expires-at they stay for ever. Adding again moves the end. With --starts-at
    it is a plan: until then, a later command for the same users replaces it.

    If users of the file are by hand in another segment of the layer, the file is refused, and its
    lines are named. --on-conflict move ends those memberships, suspend lets them go on afterwards,
    and skip leaves these users out.
    """
    query = {name: value for name, value in given.items() if value is not None}
    client.run(_send(client.path("segments", slug, "members", "add"), file, query))


@members.command()
@click.argument("slug")
@click.argument("file", type=click.File("rb"), default="-")
def remove(slug: str, file: BinaryIO) -> None:
    """Remove the users of FILE from the segment SLUG; - is standard input.

    They stay out at any later percentage, until they are added again. In a segment without a
    percentage, nothing changes for a user who is not in it.
    """
    client.run(_send(client.path("segments", slug, "members", "remove"), file, {}))


@members.command("list")
@click.argument("slug")
@click.argument("file", default="-")
def list_members(slug: str, file: str) -> None:
    """Write who is in the segment SLUG now to FILE as CSV; - is standard output.

    The columns are user_id, source (manual or rollout), since and expires_at.
    """

    async def work() -> None:
        path = client.path("segments", slug, "members")
        async with client.request("GET", path, headers={"Accept": "text/csv"}) as response:
            with whole_file(file) as write, progress("receiving lines") as advance:
                async for piece in response.content.iter_any():
                    write(piece)
                    advance(piece.count(b"\n"))

    client.run(work())


async def _send(path: str, file: BinaryIO, query: dict[str, str | int]) -> None:
    headers = {"Content-Type": "text/csv"}
    # The program that writes the file may start late; the service would not wait for so long.
    first = await asyncio.to_thread(file.read, PIECE)
    body = _pieces(file, first)
    done = await client.call("POST", path, params=query, data=body, headers=headers)
    click.echo(", ".join(f"{name} {number}" for name, number in done.items()))


async def _pieces(file: BinaryIO, piece: bytes) -> AsyncIterator[bytes]:
    """Yield a file, piece by piece, with a progress bar."""
    with progress("sending bytes", os.fstat(file.fileno()).st_size) as advance:
        while piece:
            yield piece
            advance(len(piece))
            piece = await asyncio.to_thread(file.read, PIECE)
    if sys.stderr.isatty():
        click.echo("changing the members ...", err=True)
