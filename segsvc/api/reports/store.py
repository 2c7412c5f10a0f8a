"""Statements about reports."""

import asyncio
from datetime import datetime

from segsvc.api.reports.links import Report
from segsvc.db.pool import Connection
from segsvc.db.sql import statement
from segsvc.db.values import Sink

COPY_MONTH = statement("reports/copy_month")
COPY_MONTH_OF_USER = statement("reports/copy_month_of_user")
GET_NOW = statement("reports/get_now")
IS_SETTLING = statement("reports/is_settling")

# Seconds.
SETTLE_TIMEOUT = 30
POLL_INTERVAL = 0.05


async def now(conn: Connection) -> datetime:
    """Return the database's time."""
    moment: datetime = await conn.fetchval(GET_NOW)
    return moment


async def settle(conn: Connection, end: datetime) -> None:
    """Wait until every write that read the clock before `end` has ended.

    A month that is over has the same report for ever, so its first report must not miss a write
    that is under way.

    Raises:
        TimeoutError: a write takes longer than the service allows.
    """
    async with asyncio.timeout(SETTLE_TIMEOUT):
        while await conn.fetchval(IS_SETTLING, end):  # noqa: ASYNC110 (PostgreSQL sends no event)
            await asyncio.sleep(POLL_INTERVAL)


async def copy(conn: Connection, report: Report, sink: Sink) -> None:
    """Send the CSV of a report to `sink`, piece by piece, as fast as `sink` takes it.

    The current month goes up to now.
    """
    month = report.month
    await settle(conn, month.end)
    query, user = (
        (COPY_MONTH, ()) if report.user_id is None else (COPY_MONTH_OF_USER, (report.user_id,))
    )
    await conn.copy_from_query(
        query, month.start, month.end, *user, output=sink, format="csv", delimiter=";"
    )
