"""The statements about segments. A transaction, where one is needed, is opened here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg

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
    """A live segment, with the number of users who are in by hand."""

    members: int


async def create(
    conn: Connection,
    slug: str,
    description: str = "",
    percent: Decimal | None = None,
    actor: str | None = None,
) -> Segment | None:
    """Create a segment and return it, or None if a live one has the slug."""
    async with conn.transaction():
        await conn.execute(LOCK_SLUG, slug)
        row = await conn.fetchrow(CREATE, slug, description, percent, actor)
    return Segment(**row) if row else None


async def list_live(conn: Connection, after: str, limit: int) -> Sequence[Segment]:
    """Return up to `limit` live segments whose slugs sort after `after`, in that order."""
    return [Segment(**row) for row in await conn.fetch(LIST_LIVE, after, limit)]


async def get(conn: Connection, slug: str) -> CountedSegment | None:
    """Return the live segment of this slug, or None."""
    row = await conn.fetchrow(GET, slug)
    return CountedSegment(**row) if row else None


async def find(conn: Connection, slug: str) -> int | None:
    """Return the id of the live segment of this slug, or None."""
    segment_id: int | None = await conn.fetchval(FIND, slug)
    return segment_id


async def change(
    conn: Connection, slug: str, wish: Mapping[str, Any], actor: str | None = None
) -> CountedSegment | None:
    """Change what `wish` names of a segment, `description` or `percent`, and return it, or None.

    A `percent` of None makes the segment manual.
    """
    async with conn.transaction():
        lock = await _lock(conn, slug)
        if lock is None:
            return None
        if "description" in wish:
            await conn.execute(DESCRIBE, lock["id"], wish["description"])
        if "percent" in wish:
            await conn.execute(SET_PERCENT, lock["id"], lock["locked_at"], wish["percent"], actor)
    # Counting the members of a large segment is not to be waited for under its lock. What another
    # request changed since then is not this one's answer.
    segment = await get(conn, slug)
    return replace(segment, **wish) if segment else None


async def delete(conn: Connection, slug: str, actor: str | None = None) -> bool:
    """End the life of a segment; return whether there was one."""
    async with conn.transaction():
        lock = await _lock(conn, slug)
        if lock is not None:
            await conn.execute(DELETE, lock["id"], lock["locked_at"], actor)
        return lock is not None


async def _lock(conn: Connection, slug: str) -> asyncpg.Record | None:
    """Wait for the turn to change the live segment of this slug; return its lock, or None."""
    await conn.execute(LOCK_SLUG, slug)
    return await conn.fetchrow(LOCK, slug)
