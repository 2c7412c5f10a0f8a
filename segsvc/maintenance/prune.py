"""`segsvc prune`: delete what ended before a time."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from segsvc.db.pool import Connection
from segsvc.db.sql import statement
from segsvc.db.values import rows_of

COUNT = statement("maintenance/count_ended")
LIST_DELETED_SEGMENTS = statement("maintenance/list_deleted_segments")
DELETE_PERIODS = statement("maintenance/delete_periods")
DELETE_PERIODS_OF_SEGMENT = statement("maintenance/delete_periods_of_segment")
DELETE_ROLLOUTS = statement("maintenance/delete_rollouts")
DELETE_SEGMENT = statement("maintenance/delete_segment")
DELETE_LAYER_SEGMENTS = statement("maintenance/delete_layer_segments")
DELETE_LAYERS = statement("maintenance/delete_layers")
COUNT_AUDIT = statement("maintenance/count_audit")
DELETE_AUDIT = statement("maintenance/delete_audit")
SET_PRUNED = statement("maintenance/set_pruned")

BATCH = 10_000


@dataclass(frozen=True)
class Ended:
    """Numbers of rows that ended before a time."""

    periods: int
    rollouts: int
    segments: int


async def count(conn: Connection, before: datetime) -> Ended:
    """Return how many rows `prune` would delete."""
    row = await conn.fetchrow(COUNT, before)
    assert row is not None
    return Ended(**row)


async def prune(conn: Connection, before: datetime) -> AsyncIterator[int]:
    """Delete what ended before `before`; yield the number of deleted rows for each batch.

    What ended at `before` stays: stays of the month that starts then may continue from it. Each
    batch is a transaction, so a prune can be interrupted and repeated.
    """
    await refuse_cursors(conn, before)
    while rows := rows_of(await conn.execute(DELETE_PERIODS, before, BATCH)):
        yield rows
    yield rows_of(await conn.execute(DELETE_ROLLOUTS, before))
    yield rows_of(await conn.execute(DELETE_LAYER_SEGMENTS, before))
    for segment in await conn.fetch(LIST_DELETED_SEGMENTS, before):
        while rows := rows_of(await conn.execute(DELETE_PERIODS_OF_SEGMENT, segment["id"], BATCH)):
            yield rows
        yield rows_of(await conn.execute(DELETE_SEGMENT, segment["id"]))
    yield rows_of(await conn.execute(DELETE_LAYERS, before))


async def refuse_cursors(conn: Connection, before: datetime) -> None:
    """Let nobody follow the feed from a time before `before`."""
    await conn.execute(SET_PRUNED, before)


async def count_audit(conn: Connection, before: datetime) -> int:
    """Return how many entries `prune_audit` would delete."""
    entries: int = await conn.fetchval(COUNT_AUDIT, before)
    return entries


async def prune_audit(conn: Connection, before: datetime) -> AsyncIterator[int]:
    """Delete what was recorded before a time; yield the number of rows for each batch."""
    while rows := rows_of(await conn.execute(DELETE_AUDIT, before, BATCH)):
        yield rows
