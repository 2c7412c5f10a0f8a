"""The statements about retention."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from segsvc.db.pool import Connection
from segsvc.db.sql import statement

COUNT = statement("maintenance/count_ended")
LIST_DEAD_SEGMENTS = statement("maintenance/list_deleted_segments")
DELETE_PERIODS = statement("maintenance/delete_periods")
DELETE_PERIODS_OF_SEGMENT = statement("maintenance/delete_periods_of_segment")
DELETE_ROLLOUTS = statement("maintenance/delete_rollouts")
DELETE_SEGMENT = statement("maintenance/delete_segment")

BATCH = 10_000


@dataclass(frozen=True)
class Ended:
    """How many rows ended before some time."""

    periods: int
    rollouts: int
    segments: int


async def count(conn: Connection, before: datetime) -> Ended:
    """Return what `prune` would delete."""
    row = await conn.fetchrow(COUNT, before)
    assert row is not None
    return Ended(**row)


async def prune(conn: Connection, before: datetime) -> AsyncIterator[int]:
    """Delete what ended before `before`; yield how many rows went, batch by batch.

    What ended at that very moment stays, because the stays of the month that begins then may
    continue from it. Each batch is a transaction of its own: it can be broken off at any time,
    and taken up again.
    """
    while rows := _rows(await conn.execute(DELETE_PERIODS, before, BATCH)):
        yield rows
    yield _rows(await conn.execute(DELETE_ROLLOUTS, before))
    for segment in await conn.fetch(LIST_DEAD_SEGMENTS, before):
        while rows := _rows(await conn.execute(DELETE_PERIODS_OF_SEGMENT, segment["id"], BATCH)):
            yield rows
        yield _rows(await conn.execute(DELETE_SEGMENT, segment["id"]))


def _rows(status: str) -> int:
    """Return the number in a command's status, such as `DELETE 42`."""
    return int(status.rpartition(" ")[2])
