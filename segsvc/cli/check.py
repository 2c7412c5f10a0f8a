"""`segsvc check`."""

import click

from segsvc.cli.database import run_connected
from segsvc.cli.files import progress
from segsvc.cli.output import as_json, echo, with_json
from segsvc.db.pool import Connection
from segsvc.maintenance import check as store


@click.command()
@with_json
def check() -> None:
    """Look for broken invariants in the whole database.

    No two periods of a user and a segment overlap; all start within the life of the segment; all
    users are registered; the events of each user alternate, and replayed they give the current
    segments. It only reads, beside a running service. The exit status is 1 if a fault is found.
    """

    async def work(conn: Connection) -> None:
        faults = await store.structure(conn)
        checked = 0
        with progress("users") as advance:
            async for users, found in store.replay(conn):
                faults += found
                checked += users
                advance(users)
        for fault in faults:
            echo({"fault": fault}, fault)
        if not as_json():
            click.echo(f"{checked} users checked, {len(faults)} faults")
        if faults:
            raise click.exceptions.Exit(1)

    run_connected(work, "read")
