"""The statements about segments. A transaction, where one is needed, is opened here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from segsvc.database import Connection
from segsvc.statements import statement

LOCK_SLUG = statement("segments/lock_slug")
CREATE = statement("segments/create")
LIST_LIVE = statement("segments/list_live")
GET = statement("segments/get")
DELETE = statement("segments/delete")


@dataclass(frozen=True)
class Segment:
    """A live segment."""

    slug: str
    description: str
    created_at: datetime


@dataclass(frozen=True)
class CountedSegment(Segment):
    """A live segment, with the number of users who are in by hand."""

    members: int


async def create(conn: Connection, slug: str, description: str) -> Segment | None:
    """Create a segment and return it, or None if a live one has the slug."""
    async with conn.transaction():
        await conn.execute(LOCK_SLUG, slug)
        row = await conn.fetchrow(CREATE, slug, description)
    return Segment(**row) if row else None


async def list_live(conn: Connection, after: str, limit: int) -> Sequence[Segment]:
    """Return up to `limit` live segments whose slugs sort after `after`, in that order."""
    return [Segment(**row) for row in await conn.fetch(LIST_LIVE, after, limit)]


async def get(conn: Connection, slug: str) -> CountedSegment | None:
    """Return the live segment of this slug, or None."""
    row = await conn.fetchrow(GET, slug)
    return CountedSegment(**row) if row else None


async def delete(conn: Connection, slug: str) -> bool:
    """End the life of a segment; return whether there was one."""
    async with conn.transaction():
        await conn.execute(LOCK_SLUG, slug)
        return await conn.fetchrow(DELETE, slug) is not None
