"""`report` and `prune`: what an operator does on the database itself."""

from dataclasses import astuple

import click

from segsvc.api.reports import store as reports
from segsvc.api.reports.links import Report
from segsvc.api.reports.months import Month
from segsvc.cli.files import progress, whole_file
from segsvc.cli.server import run_connected
from segsvc.db.pool import Connection
from segsvc.db.values import MAX_USER_ID
from segsvc.maintenance import prune as retention


class _MonthType(click.ParamType[Month]):
    name = "month"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Month:
        try:
            return Month.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("month", type=_MonthType())
@click.option("--user", type=click.IntRange(1, MAX_USER_ID), help="Report this user alone.")
@click.option("-o", "--output", default="-", help="The file to write; - is standard output.")
def report(month: Month, user: int | None, output: str) -> None:
    """Write the report of MONTH, such as 2026-11, as CSV: user_id;slug;add or remove;time.

    The months are UTC; the current one goes up to now. A file is there only when it is whole.
    """

    async def work(conn: Connection) -> None:
        if month.start > await reports.now(conn):
            raise click.ClickException(f"{month} has not begun yet (months are UTC)")
        with whole_file(output) as write, progress("events") as move:

            async def send(piece: bytes) -> None:
                write(piece)
                move(piece.count(b"\n"))

            await reports.copy(conn, Report(month, user), send)

    run_connected(work)


@click.command()
@click.option("--before", type=_MonthType(), required=True, help="The first month to keep.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
def prune(*, before: Month, dry_run: bool) -> None:
    """Delete the periods, rollouts and segments that ended before a month.

    The reports of that month and of later ones stay the same, and so do reads as of their time.
    It works in small batches beside a running service, and may be interrupted.
    """

    async def work(conn: Connection) -> None:
        if before.start > await reports.now(conn):
            raise click.BadParameter("has not begun yet", param_hint="--before")
        ended = await retention.count(conn, before.start)
        click.echo(
            f"{'would delete' if dry_run else 'deleting'} {ended.periods} periods,"
            f" {ended.rollouts} rollouts and {ended.segments} segments"
            f" that ended before {before}"
        )
        if not dry_run:
            with progress("rows", sum(astuple(ended))) as move:
                async for rows in retention.prune(conn, before.start):
                    move(rows)

    run_connected(work)
