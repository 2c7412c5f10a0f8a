"""Statements about the members of a segment. Imports and exports use dedicated connections."""

from collections.abc import AsyncIterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from segsvc.api.users.store import CHOICES as USER_CHOICES
from segsvc.api.users.store import MOVE_USERS, REFUSE
from segsvc.db import clock
from segsvc.db.conditions import Conflict, ElsewhereInLayer, SegmentsNotLive
from segsvc.db.pool import Connection
from segsvc.db.sql import statement
from segsvc.db.values import Sink, Term, bounds_of, rows_of

STAGE = statement("members/stage")
STAGE_UNLISTED = statement("members/stage_unlisted")
ANALYZE_STAGED = statement("members/analyze_staged")
ANALYZE_UNLISTED = statement("members/analyze_unlisted")
FIND_SET = statement("members/find_set")
FIND_UNLISTED = statement("members/find_unlisted")
FIND_SEGMENT = statement("members/find_segment")
LOCK_SLUGS = statement("members/lock_slugs")
UNLOCK_SLUGS = statement("members/unlock_slugs")
LOCK_LAYER = statement("members/lock_layer")
LOCK_SEGMENT = statement("members/lock_segment")
LIST_CONFLICTS = statement("members/list_conflicts")
SKIP_CONFLICTS = statement("members/skip_conflicts")
CHANGE = statement("members/change")
MOVE = statement("members/move")
LOCK_REGISTRATION = statement("members/lock_registration")
REGISTER = statement("members/register")
LIST = statement("members/list")

# Many users may also be added without those who are in another segment of the layer.
SKIP = "skip"
CHOICES = (*USER_CHOICES, SKIP)

# From now on, without an end.
FOR_EVER = Term()

# The most users in another segment of the layer who are named.
MAX_CONFLICTS = 100


class Operation(StrEnum):
    """What becomes of listed users; a replacement adds them and removes all other members."""

    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"


class Part(StrEnum):
    """What a segment is to a set of users: they are in any of some, in all, or in none."""

    ANY = "any"
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True)
class UserSet:
    """Users by the segments that they are in: ids of segments, times, None for now, and parts."""

    segment_ids: list[int]
    times: list[datetime | None]
    parts: list[Part]


@dataclass(frozen=True)
class Change:
    """A change of many members of a segment.

    Attributes:
        slug: the segment.
        operation: what becomes of the users.
        term: from when to when they are in.
        on_conflict: what becomes of them elsewhere in the layer.
        allow_empty: whether nobody may be left by a replacement.
        dry_run: whether it is only counted.
        actor: the name of the API key.
    """

    slug: str
    operation: Operation
    term: Term = FOR_EVER
    on_conflict: str = REFUSE
    allow_empty: bool = False
    dry_run: bool = False
    actor: str | None = None


@dataclass(frozen=True)
class Listed:
    """The members of a segment as of `at`, None for now, by `source`, None for both."""

    segment_id: int
    at: datetime | None
    source: str | None


@dataclass(frozen=True)
class Member:
    """A user who is in a segment; `source` is "manual" or "rollout", the times are RFC 3339."""

    user_id: int
    source: str
    since: str
    expires_at: str | None


@dataclass(frozen=True)
class Changed:
    """How many users were listed and left out, and for how many something changed."""

    received: int
    added: int
    removed: int
    skipped: int


@dataclass(frozen=True)
class _Segment:
    """A live segment, locked unless it is for a dry run, and the time that was read then."""

    id: int
    now: datetime
    ends_at: datetime | None
    in_layer: bool


class NobodyListed(Exception):  # noqa: N818 (a condition that callers ask about)
    """A list without a user would remove all members, which is not allowed; nothing was changed."""


async def receive(conn: Connection, user_ids: AsyncIterable[bytes]) -> int:
    """Receive a file of user ids into a temporary table of the connection; return their number."""
    await conn.execute(STAGE)
    received = rows_of(await conn.copy_to_table("staged", source=user_ids, format="text"))
    await conn.execute(ANALYZE_STAGED)
    return received


async def change_listed(conn: Connection, wanted: Change, received: int) -> Changed:
    """Change a segment for the users of the file that was received, so many ids.

    Raises:
        SegmentsNotLive, NobodyListed, PastStart, StartAfterEnd, PastExpiry, ElsewhereInLayer: as
            `change_set` does; a conflict has its place in the file.
    """
    return await _change(conn, wanted, await _open(conn, wanted), received)


async def change_set(conn: Connection, wanted: Change, users: UserSet) -> Changed:
    """Change a segment for a set of users.

    Raises:
        SegmentsNotLive: the slug is not live; nothing was changed.
        NobodyListed: nobody would be left in the segment; nothing was changed.
        PastStart: the memberships would start in the past; nothing was changed.
        StartAfterEnd: the segment would have ended; nothing was changed.
        PastExpiry: the memberships would end before they start; nothing was changed.
        ElsewhereInLayer: users are in another segment of the layer, and that is to be refused: the
            first of them; nothing was changed.
    """
    segment = await _open(conn, wanted)
    if not wanted.dry_run:
        await conn.execute(LOCK_REGISTRATION)
    await conn.execute(STAGE)
    times = [at or segment.now for at in users.times]
    found = rows_of(await conn.execute(FIND_SET, users.segment_ids, times, users.parts))
    await conn.execute(ANALYZE_STAGED)
    return await _change(conn, wanted, segment, found)


async def count_set(conn: Connection, users: UserSet) -> int:
    """Count the users of a set now; nothing is kept."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.execute(STAGE)
        now = await clock.now(conn)
        times = [at or now for at in users.times]
        return rows_of(await conn.execute(FIND_SET, users.segment_ids, times, users.parts))
    finally:
        await transaction.rollback()


async def _open(conn: Connection, wanted: Change) -> _Segment:
    """Lock the segment of a change, and the others in its layer; find it for a dry run.

    Raises:
        SegmentsNotLive: the slug is not live.
    """
    if wanted.dry_run:
        row = await conn.fetchrow(FIND_SEGMENT, wanted.slug)
    else:
        buckets = [row["bucket"] for row in await conn.fetch(LOCK_SLUGS, wanted.slug)]
        layer_id = await conn.fetchval(LOCK_LAYER, wanted.slug)
        row = await conn.fetchrow(LOCK_SEGMENT, wanted.slug, layer_id)
        await conn.execute(UNLOCK_SLUGS, buckets)
    if row is None:
        raise SegmentsNotLive({wanted.slug})
    return _Segment(row["id"], row["locked_at"], row["ends_at"], row["layer_id"] is not None)


async def _change(conn: Connection, wanted: Change, segment: _Segment, received: int) -> Changed:
    """Change a segment for the users in the temporary table."""
    now = segment.now
    bounds = bounds_of({wanted.slug: wanted.term}, now, {wanted.slug: segment.ends_at})[wanted.slug]
    await conn.execute(STAGE_UNLISTED)
    if wanted.operation is Operation.REPLACE:
        if not received and not wanted.allow_empty:
            raise NobodyListed
        if not wanted.dry_run:
            await conn.execute(LOCK_REGISTRATION)
        await conn.execute(FIND_UNLISTED, segment.id, now)
        await conn.execute(ANALYZE_UNLISTED)
    skipped = 0
    adds = wanted.operation is not Operation.REMOVE
    if segment.in_layer and adds:
        if wanted.on_conflict == REFUSE:
            rows = await conn.fetch(LIST_CONFLICTS, segment.id, now, *bounds, MAX_CONFLICTS)
            if rows:
                raise ElsewhereInLayer([Conflict(wanted.slug, **row) for row in rows])
        elif wanted.on_conflict == SKIP:
            skipped = rows_of(await conn.execute(SKIP_CONFLICTS, segment.id, now, *bounds))
    row = await conn.fetchrow(CHANGE, segment.id, now, adds, *bounds, wanted.actor, wanted.dry_run)
    assert row is not None
    if not wanted.dry_run:
        if segment.in_layer and adds and wanted.on_conflict == MOVE_USERS:
            await conn.execute(MOVE, segment.id, now, *bounds, wanted.actor)
        await conn.execute(LOCK_REGISTRATION)
        await conn.execute(REGISTER, now)
    return Changed(received, row["added"], row["removed"], skipped)


async def list_page(conn: Connection, listed: Listed, after: int, limit: int) -> list[Member]:
    """Return up to `limit` members of a segment, whose ids are above `after`, in that order."""
    rows = await conn.fetch(LIST, listed.segment_id, after, limit, listed.at, listed.source)
    return [Member(**row) for row in rows]


async def copy(conn: Connection, listed: Listed, sink: Sink) -> None:
    """Send all members of a segment to `sink` as CSV with a header."""
    values = (listed.segment_id, 0, None, listed.at, listed.source)
    await conn.copy_from_query(LIST, *values, output=sink, format="csv", header=True)
