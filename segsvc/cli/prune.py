"""`segsvc prune`."""

from dataclasses import astuple

import click

from segsvc.api.reports.months import Month
from segsvc.cli.database import run_connected
from segsvc.cli.files import progress
from segsvc.cli.months import MonthType
from segsvc.db.clock import now
from segsvc.db.pool import Connection
from segsvc.maintenance import prune as store


@click.command()
@click.option("--before", type=MonthType(), required=True, help="The first month to keep.")
@click.option("--audit", is_flag=True, help="Delete from the audit log too.")
@click.option("--dry-run", is_flag=True, help="Only count what would be deleted.")
def prune(*, before: Month, audit: bool, dry_run: bool) -> None:
    """Delete the periods, rollouts and segments that ended before a month.

    The audit log is kept, unless --audit says otherwise.

    Reports of that month and later ones stay the same, and so do reads as of these times. It works
    in small batches beside a running service, and may be interrupted.

    \b
    Example:
      segsvc prune --before 2024-01 --dry-run
    """  # noqa: D301 (click reads the backspace)

    async def work(conn: Connection) -> None:
        if before.start > await now(conn):
            raise click.BadParameter("is in the future", param_hint="--before")
        ended = await store.count(conn, before.start)
        verb = "would delete" if dry_run else "deleting"
        click.echo(
            f"{verb} {ended.periods} periods, {ended.rollouts} rollouts and {ended.segments}"
            f" segments that ended before {before}"
        )
        entries = await store.count_audit(conn, before.start) if audit else 0
        if audit:
            click.echo(f"{verb} {entries} entries of the audit log from before {before}")
        if not dry_run:
            with progress("rows", sum(astuple(ended)) + entries) as advance:
                async for rows in store.prune(conn, before.start):
                    advance(rows)
                if audit:
                    async for rows in store.prune_audit(conn, before.start):
                        advance(rows)

    run_connected(work, "prune")
