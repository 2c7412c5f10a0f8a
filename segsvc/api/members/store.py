"""The statements about all members of a segment. They run on a connection of their own."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from segsvc.api.members.user_id_file import UserIds
from segsvc.api.users.schemas import Expiry
from segsvc.db.pool import Connection
from segsvc.db.sql import statement
from segsvc.http.csv_stream import Sink

STAGE = statement("members/stage")
ANALYZE_STAGED = statement("members/analyze_staged")
LOCK_SEGMENT = statement("members/lock_segment")
LOCK_USERS = statement("members/lock_users")
CHANGE = statement("members/change")
LIST = statement("members/list")


class SegmentGone(Exception):  # noqa: N818 (a condition that the caller asked about)
    """The segment is no longer live; nothing was changed."""


class PastExpiry(Exception):  # noqa: N818
    """The memberships would have ended already; nothing was changed."""


@dataclass(frozen=True)
class Wish:
    """Whether users are to be in, until when, and the name of the key of whoever wishes it."""

    included: bool
    expiry: Expiry = None
    actor: str | None = None


@dataclass(frozen=True)
class Imported:
    """How many ids a file held, for how many users it changed something, and the difference."""

    received: int
    changed: int
    unchanged: int


@dataclass(frozen=True)
class Member:
    """A user who is in a segment; `source` is "manual" or "rollout", the times are RFC 3339."""

    user_id: int
    source: str
    since: str
    expires_at: str | None


async def change(conn: Connection, slug: str, user_ids: UserIds, wish: Wish) -> Imported:
    """Put users into a segment or take them out, all or nothing.

    The file is received first, which may take its time, and locks are taken only then. The change
    is one transaction: whoever is killed when, all of it is there or nothing.

    Raises:
        SegmentGone: the slug is not live.
        PastExpiry: the end of the memberships is not in the future.
        BadLines, TooManyLines: what `user_ids` found.
    """
    await conn.execute(STAGE)
    await conn.copy_to_table("staged", source=user_ids, format="text")
    await conn.execute(ANALYZE_STAGED)
    async with conn.transaction():
        segment_id = await conn.fetchval(LOCK_SEGMENT, slug)
        if segment_id is None:
            raise SegmentGone
        now: datetime = await conn.fetchval(LOCK_USERS)
        until = now + wish.expiry if isinstance(wish.expiry, timedelta) else wish.expiry
        if until is not None and until <= now:
            raise PastExpiry
        changed = await conn.fetchval(CHANGE, segment_id, now, wish.included, until, wish.actor)
    return Imported(user_ids.received, changed, user_ids.received - changed)


async def list_page(conn: Connection, segment_id: int, after: int, limit: int) -> list[Member]:
    """Return up to `limit` members of a segment whose ids are above `after`, in that order."""
    return [Member(**row) for row in await conn.fetch(LIST, segment_id, after, limit)]


async def copy(conn: Connection, segment_id: int, sink: Sink) -> None:
    """Send all members of a segment to `sink` as CSV with a header."""
    await conn.copy_from_query(LIST, segment_id, 0, None, output=sink, format="csv", header=True)
