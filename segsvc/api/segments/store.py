"""Statements about segments. The caller owns the transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg

from segsvc.db.conditions import SegmentsNotLive
from segsvc.db.pool import Connection
from segsvc.db.sql import statement

FIND = statement("segments/find")
LOCK_SLUG = statement("segments/lock_slug")
LOCK = statement("segments/lock")
CREATE = statement("segments/create")
LIST_LIVE = statement("segments/list_live")
GET = statement("segments/get")
DESCRIBE = statement("segments/describe")
SET_PERCENT = statement("segments/set_percent")
DELETE = statement("segments/delete")


@dataclass(frozen=True)
class Segment:
    """A live segment. `percent` is None in a manual one."""

    slug: str
    description: str
    percent: Decimal | None
    created_at: datetime


@dataclass(frozen=True)
class CountedSegment(Segment):
    """A live segment with the number of users who are in by hand."""

    members: int


async def create(
    conn: Connection,
    slug: str,
    description: str = "",
    percent: Decimal | None = None,
    actor: str | None = None,
) -> Segment | None:
    """Create a segment and return it, or None if a live one has the slug."""
    await conn.execute(LOCK_SLUG, slug)
    row = await conn.fetchrow(CREATE, slug, description, percent, actor)
    return Segment(**row) if row else None


async def list_live(conn: Connection, after: str, limit: int) -> list[Segment]:
    """Return up to `limit` live segments whose slugs sort after `after`, in that order."""
    return [Segment(**row) for row in await conn.fetch(LIST_LIVE, after, limit)]


async def get(conn: Connection, slug: str) -> CountedSegment:
    """Return the live segment of this slug.

    Raises:
        SegmentsNotLive: there is none.
    """
    row = await conn.fetchrow(GET, slug)
    if row is None:
        raise SegmentsNotLive({slug})
    return CountedSegment(**row)


async def find(conn: Connection, slug: str) -> int:
    """Return the id of the live segment of this slug.

    Raises:
        SegmentsNotLive: there is none.
    """
    segment_id: int | None = await conn.fetchval(FIND, slug)
    if segment_id is None:
        raise SegmentsNotLive({slug})
    return segment_id


async def change(
    conn: Connection, slug: str, changes: Mapping[str, Any], actor: str | None = None
) -> None:
    """Change the `description` or the `percent` of a live segment, or both.

    A `percent` of None makes the segment manual.

    Raises:
        SegmentsNotLive: the slug is not live; nothing was changed.
    """
    lock = await _lock(conn, slug)
    if "description" in changes:
        await conn.execute(DESCRIBE, lock["id"], changes["description"])
    if "percent" in changes:
        await conn.execute(SET_PERCENT, lock["id"], lock["locked_at"], changes["percent"], actor)


async def delete(conn: Connection, slug: str, actor: str | None = None) -> None:
    """End the life of a segment.

    Raises:
        SegmentsNotLive: the slug is not live; nothing was changed.
    """
    lock = await _lock(conn, slug)
    await conn.execute(DELETE, lock["id"], lock["locked_at"], actor)


async def _lock(conn: Connection, slug: str) -> asyncpg.Record:
    """Lock a live segment for a change; return its `id` and the time, `locked_at`."""
    await conn.execute(LOCK_SLUG, slug)
    row = await conn.fetchrow(LOCK, slug)
    if row is None:
        raise SegmentsNotLive({slug})
    return row
