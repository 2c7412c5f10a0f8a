"""`members`: whole audiences in, out and listed."""

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
    """Put users into a segment by the million, take them out, and list them.

    A file of users is CSV with one id a line; a header `user_id` and blank lines are fine, and it
    may be compressed (.gz). It is done whole or not at all, and doing it again is safe.
    """


@members.command()
@click.argument("slug")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--ttl", type=int, help="For so many seconds.")
@click.option("--expires-at", help="Until a time, such as 2026-12-01T00:00:00Z.")
def add(slug: str, file: BinaryIO, ttl: int | None, expires_at: str | None) -> None:
    """Put the users of FILE into the segment SLUG; - is standard input.

    For ever, or with --ttl or --expires-at for a time; adding again moves the end.
    """
    given = {"ttl": ttl, "expires_at": expires_at}
    query = {name: value for name, value in given.items() if value is not None}
    client.run(_send(client.path("segments", slug, "members", "add"), file, query))


@members.command()
@click.argument("slug")
@click.argument("file", type=click.File("rb"), default="-")
def remove(slug: str, file: BinaryIO) -> None:
    """Take the users of FILE out of the segment SLUG; - is standard input.

    In a segment with a percentage they stay out, whatever it becomes, until they are added again.
    """
    client.run(_send(client.path("segments", slug, "members", "remove"), file, {}))


@members.command("list")
@click.argument("slug")
@click.argument("file", default="-")
def list_members(slug: str, file: str) -> None:
    """Write who is in the segment SLUG now to FILE as CSV; - is standard output.

    The columns are user_id, source (manual or rollout), since and expires_at. To put the same users
    into another segment: segsvc members list A | cut -d, -f1 | segsvc members add B
    """

    async def work() -> None:
        path = client.path("segments", slug, "members")
        async with client.request("GET", path, headers={"Accept": "text/csv"}) as response:
            with whole_file(file) as write, progress("receiving lines") as move:
                async for piece in response.content.iter_any():
                    write(piece)
                    move(piece.count(b"\n"))

    client.run(work())


async def _send(path: str, file: BinaryIO, query: dict[str, str | int]) -> None:
    headers = {"Content-Type": "text/csv"}
    if file.name.endswith(".gz"):
        headers["Content-Encoding"] = "gzip"
    # What makes the file may take its time to begin; the service would not wait for so long.
    first = await asyncio.to_thread(file.read, PIECE)
    body = _pieces(file, first)
    done = await client.call("POST", path, params=query, data=body, headers=headers)
    click.echo(", ".join(f"{name} {number}" for name, number in done.items()))


async def _pieces(file: BinaryIO, piece: bytes) -> AsyncIterator[bytes]:
    """Yield a file, piece by piece, and show how far it has come."""
    with progress("sending bytes", os.fstat(file.fileno()).st_size) as move:
        while piece:
            yield piece
            move(len(piece))
            piece = await asyncio.to_thread(file.read, PIECE)
    if sys.stderr.isatty():
        click.echo("changing the members ...", err=True)
