"""Statements about the members of a segment. Imports and exports use dedicated connections."""

from collections.abc import AsyncIterable
from dataclasses import dataclass
from datetime import datetime

from segsvc.db.conditions import SegmentsNotLive
from segsvc.db.pool import Connection
from segsvc.db.sql import statement
from segsvc.db.values import Sink, Term, bounds_of, ended

STAGE = statement("members/stage")
ANALYZE_STAGED = statement("members/analyze_staged")
LOCK_SEGMENT = statement("members/lock_segment")
LOCK_USERS = statement("members/lock_users")
CHANGE = statement("members/change")
LIST = statement("members/list")


@dataclass(frozen=True)
class Member:
    """A user who is in a segment; `source` is "manual" or "rollout", the times are RFC 3339."""

    user_id: int
    source: str
    since: str
    expires_at: str | None


async def receive(conn: Connection, user_ids: AsyncIterable[bytes]) -> None:
    """Receive a file of user ids into a temporary table of the connection."""
    await conn.execute(STAGE)
    await conn.copy_to_table("staged", source=user_ids, format="text")
    await conn.execute(ANALYZE_STAGED)


async def change(
    conn: Connection,
    slug: str,
    *,
    included: bool,
    term: Term,
    actor: str | None = None,
) -> int:
    """Add the received users to a segment or remove them; return how many of them changed.

    Raises:
        SegmentsNotLive: the slug is not live; nothing was changed.
        PastStart: the memberships would start in the past; nothing was changed.
        StartAfterEnd: the segment would have ended; nothing was changed.
        PastExpiry: the memberships would end before they start; nothing was changed.
    """
    segment = await conn.fetchrow(LOCK_SEGMENT, slug)
    if segment is None:
        raise SegmentsNotLive({slug})
    now = await conn.fetchval(LOCK_USERS)
    if ended(segment["ends_at"], now):  # while this waited for the users
        raise SegmentsNotLive({slug})
    start, end = bounds_of({slug: term}, now, {slug: segment["ends_at"]})[slug]
    changed: int = await conn.fetchval(CHANGE, segment["id"], now, included, start, end, actor)
    return changed


async def list_page(
    conn: Connection, segment_id: int, after: int, limit: int, at: datetime | None
) -> list[Member]:
    """Return up to `limit` members of a segment as of `at`, None for now.

    Their ids are above `after`, and in that order.
    """
    return [Member(**row) for row in await conn.fetch(LIST, segment_id, after, limit, at)]


async def copy(conn: Connection, segment_id: int, at: datetime | None, sink: Sink) -> None:
    """Send all members of a segment as of `at`, None for now, to `sink` as CSV with a header."""
    await conn.copy_from_query(
        LIST, segment_id, 0, None, at, output=sink, format="csv", header=True
    )
