"""`segsvc relist`."""

import click

from segsvc.cli.database import run_connected
from segsvc.db.clock import now
from segsvc.db.pool import Connection
from segsvc.db.values import rfc3339
from segsvc.maintenance.prune import refuse_cursors


@click.command()
def relist() -> None:
    """Let all who follow the feed list the members again, after a restored backup.

    What was written after the backup is lost, and who follows the feed may have seen it. Every
    cursor from before now is refused: 410, with what to do.
    """

    async def work(conn: Connection) -> None:
        before = await now(conn)
        await refuse_cursors(conn, before)
        click.echo(f"cursors from before {rfc3339(before)} are refused")

    run_connected(work, "serve")
