"""Statements about reports."""

import asyncio
from datetime import datetime, timedelta

from segsvc.api.reports.links import Report
from segsvc.db.pool import Connection
from segsvc.db.sql import statement
from segsvc.db.values import Sink, rfc3339

COPY_MONTH = statement("reports/copy_month")
COPY_MONTH_OF_USER = statement("reports/copy_month_of_user")
GET_REPLAY = statement("reports/get_replay")
LIST_WRITERS = statement("reports/list_writers")

# Seconds.
SETTLE_TIMEOUT = 30
POLL_INTERVAL = 0.05

# What a write may take from reading the clock to its commit: db/session.py limits the statement of
# an import and the pause before it.
LONGEST_WRITE = timedelta(hours=1, minutes=1)


class Incomplete(Exception):  # noqa: N818 (a state, not a mistake)
    """The report of a month that is over may miss an event; the message says why."""


async def settle(conn: Connection, end: datetime) -> None:
    """Wait until every write that read the clock before `end` has ended, if that is past.

    A month that is over has the same report for ever, so its first report must not miss a write
    that is under way.

    Raises:
        Incomplete: such a write goes on, or may not have been replayed by a standby.
    """
    row = await conn.fetchrow(GET_REPLAY)
    assert row is not None
    if row["now"] < end:
        return
    if row["standby"]:
        _check_replayed(row["replayed_until"], end)
        return
    writers = await _list_writers(conn, end)
    try:
        async with asyncio.timeout(SETTLE_TIMEOUT):
            while writers:
                await asyncio.sleep(POLL_INTERVAL)  # PostgreSQL sends no event
                writers &= await _list_writers(conn, end)
    except TimeoutError:
        raise Incomplete(
            f"{len(writers)} transactions that may have written before {rfc3339(end)} are still"
            " under way: try again when they have ended"
        ) from None


def _check_replayed(replayed_until: datetime | None, end: datetime) -> None:
    """Check that a standby has replayed all that was written before `end`.

    Raises:
        Incomplete: it may have not.
    """
    needed = end + LONGEST_WRITE
    if replayed_until is None or replayed_until < needed:
        until = rfc3339(replayed_until) if replayed_until else "an unknown time"
        raise Incomplete(
            f"this server is a standby that has replayed its primary until {until}; it has all that"
            f" was written before {rfc3339(end)} when it has replayed until {rfc3339(needed)}: ask"
            " the primary, or try again later"
        )


async def _list_writers(conn: Connection, before: datetime) -> set[str]:
    return {row["writer"] for row in await conn.fetch(LIST_WRITERS, before)}


async def copy(conn: Connection, report: Report, sink: Sink) -> None:
    """Send the CSV of a report to `sink`, piece by piece, as fast as `sink` takes it.

    The current month goes up to now.

    Raises:
        Incomplete: the month is over, but its report may miss an event.
    """
    month = report.month
    await settle(conn, month.end)
    query, user = (
        (COPY_MONTH, ()) if report.user_id is None else (COPY_MONTH_OF_USER, (report.user_id,))
    )
    await conn.copy_from_query(
        query, month.start, month.end, *user, output=sink, format="csv", delimiter=";"
    )
