"""Statements about the members of a segment. Imports and exports use dedicated connections."""

from collections.abc import AsyncIterable
from dataclasses import dataclass
from datetime import datetime

from segsvc.api.users.store import CHOICES as USER_CHOICES
from segsvc.api.users.store import MOVE_USERS, REFUSE
from segsvc.db.conditions import Conflict, ElsewhereInLayer, SegmentsNotLive
from segsvc.db.pool import Connection
from segsvc.db.sql import statement
from segsvc.db.values import Sink, Term, bounds_of

STAGE = statement("members/stage")
ANALYZE_STAGED = statement("members/analyze_staged")
LOCK_SLUGS = statement("members/lock_slugs")
UNLOCK_SLUGS = statement("members/unlock_slugs")
LOCK_LAYER = statement("members/lock_layer")
LOCK_SEGMENT = statement("members/lock_segment")
LIST_CONFLICTS = statement("members/list_conflicts")
SKIP_CONFLICTS = statement("members/skip_conflicts")
CHANGE = statement("members/change")
MOVE = statement("members/move")
REGISTER = statement("members/register")
LIST = statement("members/list")

# A file may also leave out the users who are in another segment of the layer.
SKIP = "skip"
CHOICES = (*USER_CHOICES, SKIP)

# The most users in another segment of the layer who are named.
MAX_CONFLICTS = 100


@dataclass(frozen=True)
class Member:
    """A user who is in a segment; `source` is "manual" or "rollout", the times are RFC 3339."""

    user_id: int
    source: str
    since: str
    expires_at: str | None


@dataclass(frozen=True)
class Imported:
    """For how many users something changed, and how many ids were left out."""

    changed: int
    skipped: int = 0


async def receive(conn: Connection, user_ids: AsyncIterable[bytes]) -> None:
    """Receive a file of user ids into a temporary table of the connection."""
    await conn.execute(STAGE)
    await conn.copy_to_table("staged", source=user_ids, format="text")
    await conn.execute(ANALYZE_STAGED)


async def add(
    conn: Connection, slug: str, term: Term, on_conflict: str, actor: str | None = None
) -> Imported:
    """Add the received users to a segment.

    Raises:
        SegmentsNotLive: the slug is not live; nothing was changed.
        PastStart: the memberships would start in the past; nothing was changed.
        StartAfterEnd: the segment would have ended; nothing was changed.
        PastExpiry: the memberships would end before they start; nothing was changed.
        ElsewhereInLayer: users are in another segment of the layer, and that is to be refused: the
            first of them in the file; nothing was changed.
    """
    segment = await _lock(conn, slug)
    bounds = bounds_of({slug: term}, segment.now, {slug: segment.ends_at})[slug]
    skipped = 0
    if segment.in_layer:
        if on_conflict == REFUSE:
            rows = await conn.fetch(LIST_CONFLICTS, segment.id, segment.now, *bounds, MAX_CONFLICTS)
            if rows:
                raise ElsewhereInLayer([Conflict(slug, **row) for row in rows])
        elif on_conflict == SKIP:
            done = await conn.execute(SKIP_CONFLICTS, segment.id, segment.now, *bounds)
            skipped = int(done.rpartition(" ")[2])
    changed = await conn.fetchval(CHANGE, segment.id, segment.now, True, *bounds, actor)  # noqa: FBT003
    if segment.in_layer and on_conflict == MOVE_USERS:
        await conn.execute(MOVE, segment.id, segment.now, *bounds, actor)
    await conn.execute(REGISTER, segment.now)
    return Imported(changed, skipped)


async def remove(conn: Connection, slug: str, actor: str | None = None) -> Imported:
    """Remove the received users from a segment.

    Raises:
        SegmentsNotLive: the slug is not live; nothing was changed.
    """
    segment = await _lock(conn, slug)
    changed = await conn.fetchval(CHANGE, segment.id, segment.now, False, None, None, actor)  # noqa: FBT003
    await conn.execute(REGISTER, segment.now)
    return Imported(changed)


@dataclass(frozen=True)
class _Locked:
    """A live segment that is locked, and the time that was read then."""

    id: int
    now: datetime
    ends_at: datetime | None
    in_layer: bool


async def _lock(conn: Connection, slug: str) -> _Locked:
    """Lock a segment, and the others in its layer, for a change of many members.

    Raises:
        SegmentsNotLive: the slug is not live.
    """
    buckets = [row["bucket"] for row in await conn.fetch(LOCK_SLUGS, slug)]
    layer_id = await conn.fetchval(LOCK_LAYER, slug)
    row = await conn.fetchrow(LOCK_SEGMENT, slug, layer_id)
    await conn.execute(UNLOCK_SLUGS, buckets)
    if row is None:
        raise SegmentsNotLive({slug})
    return _Locked(row["id"], row["locked_at"], row["ends_at"], layer_id is not None)


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
