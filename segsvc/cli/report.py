"""`segsvc report`."""

import click

from segsvc.api.reports import store
from segsvc.api.reports.links import Report
from segsvc.api.reports.months import Month
from segsvc.cli.client import TryAgain
from segsvc.cli.database import run_connected
from segsvc.cli.files import progress, whole_file
from segsvc.cli.months import MonthType
from segsvc.db import clock
from segsvc.db.pool import Connection
from segsvc.db.values import MAX_USER_ID


@click.command()
@click.argument("month", type=MonthType())
@click.option("--user", type=click.IntRange(1, MAX_USER_ID), help="Only this user.")
@click.option("-o", "--output", default="-", help="The file to write; - is standard output.")
def report(month: Month, user: int | None, output: str) -> None:
    """Write the report of MONTH as CSV: user_id;slug;add or remove;time.

    Months are UTC; the current one goes up to now. The file appears when it is complete.

    \b
    Example:
      segsvc report 2026-11 --user 1000 -o november.csv
    """  # noqa: D301 (click reads the backspace)

    async def work(conn: Connection) -> None:
        if month.start > await clock.now(conn):
            raise click.ClickException(f"{month} is in the future (months are UTC)")
        with whole_file(output) as write, progress("events") as advance:

            async def send(piece: bytes) -> None:
                write(piece)
                advance(piece.count(b"\n"))

            try:
                await store.copy(conn, Report(month, user), send)
            except store.Incomplete as error:
                raise TryAgain(str(error)) from error

    run_connected(work, "read")
