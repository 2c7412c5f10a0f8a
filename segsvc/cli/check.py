"""`check`: whether the database keeps its promises."""

import click

from segsvc.cli.files import progress
from segsvc.cli.server import run_connected
from segsvc.db.pool import Connection
from segsvc.maintenance import check as store


@click.command()
def check() -> None:
    """Look through the whole database for what must never be.

    No two periods of a user and a segment overlap; all begin within the life of the segment; all
    users are known; the events of each user alternate, and replayed they give the segments that are
    read. It only reads, beside a running service. The exit status is 1 if anything is wrong.
    """

    async def work(conn: Connection) -> None:
        found = await store.structure(conn)
        checked = 0
        with progress("users") as move:
            async for users, wrong in store.replay(conn):
                found += wrong
                checked += users
                move(users)
        for line in found:
            click.echo(line)
        click.echo(f"{checked} users checked, {len(found)} faults")
        if found:
            raise click.exceptions.Exit(1)

    run_connected(work)
