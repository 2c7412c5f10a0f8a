"""The statements about memberships. A transaction, where one is needed, is opened here."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import asyncpg

from segsvc.db.conditions import PastExpiry, SegmentsNotLive
from segsvc.db.pool import Connection
from segsvc.db.sql import statement

LOCK = statement("users/lock")
CHANGE = statement("users/change")
REGISTER = statement("users/register")
LIST_AT = statement("users/list_at")
EXPLAIN = statement("users/explain")
LIST_EVENTS = statement("users/list_events")

# Seconds. A read waits no longer for the noting of the users that it met first.
REGISTER_TIMEOUT = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Changed:
    """The slugs of what a request changed, sorted."""

    added: list[str]
    removed: list[str]


@dataclass(frozen=True)
class Membership:
    """Why a user is in a segment or kept out of it.

    `percent` and `point` (of 2^32) are None in a manual segment, `expires_at` without an end,
    `actor` if whoever opened it bore no key.
    """

    slug: str
    included: bool
    by_hand: bool
    since: datetime
    expires_at: datetime | None
    percent: Decimal | None
    point: int | None
    actor: str | None

    @property
    def state(self) -> str:
        """`included` or `excluded`."""
        return "included" if self.included else "excluded"

    @property
    def source(self) -> str:
        """`manual` or `rollout`."""
        return "manual" if self.by_hand else "rollout"


@dataclass(frozen=True)
class Event:
    """A user entered a segment (`operation` is "add") or left it ("remove"), by whom if known."""

    at: datetime
    slug: str
    operation: str
    cause: str
    actor: str | None


async def change(
    conn: Connection,
    user_id: int,
    add: Mapping[str, datetime | timedelta | None],
    remove: Sequence[str],
    actor: str | None = None,
) -> Changed:
    """Put a user into some segments and take the user out of others, all or nothing.

    The values of `add` are the ends of the memberships: a time, a time from now, or none.

    Raises:
        SegmentsNotLive: some of the slugs are not live; nothing was changed.
        PastExpiry: some of the ends are not in the future; nothing was changed.
    """
    lock = await conn.fetchrow(LOCK, user_id, [*add, *remove])
    assert lock is not None
    now = lock["locked_at"]
    ids = dict(zip(lock["slugs"], lock["ids"], strict=True))
    if unknown := {*add, *remove} - ids.keys():
        raise SegmentsNotLive(unknown)
    ends = {s: now + end if isinstance(end, timedelta) else end for s, end in add.items()}
    if past := {slug for slug, end in ends.items() if end is not None and end <= now}:
        raise PastExpiry(past)
    added = [ids[slug] for slug in ends]
    removed = [ids[slug] for slug in set(remove)]
    rows = await conn.fetch(CHANGE, user_id, now, added, list(ends.values()), removed, actor)
    slugs = {segment_id: slug for slug, segment_id in ids.items()}
    return Changed(
        added=sorted(slugs[row["segment_id"]] for row in rows if row["included"]),
        removed=sorted(slugs[row["segment_id"]] for row in rows if not row["included"]),
    )


async def list_at(
    conn: Connection, user_ids: Sequence[int], at: datetime | None = None
) -> list[list[str]]:
    """Return the sorted slugs of each user's segments as of `at`, by default now.

    Users who were not known are from now on.
    """
    rows = await fetch_at(conn, user_ids, at)
    await register(conn, {row["user_id"] for row in rows if not row["known"]})
    return [row["segments"] for row in rows]


async def fetch_at(
    conn: Connection, user_ids: Sequence[int], at: datetime | None = None
) -> list[asyncpg.Record]:
    """Return the rows of `list_at` and leave it to the caller to make users known."""
    return await conn.fetch(LIST_AT, user_ids, at)


async def explain(conn: Connection, user_id: int) -> list[Membership]:
    """Return why a user is in segments or kept out of them now, in the order of the slugs."""
    await register(conn, {user_id})
    return [Membership(**row) for row in await conn.fetch(EXPLAIN, user_id)]


async def list_events(
    conn: Connection,
    user_id: int,
    between: tuple[datetime, datetime],
    after: tuple[datetime, str],
    limit: int,
) -> list[Event]:
    """Return up to `limit` events of a user, in order, from after the one at `after`."""
    await register(conn, {user_id})
    rows = await conn.fetch(LIST_EVENTS, user_id, *between, *after, limit)
    return [Event(**row) for row in rows]


async def register(conn: Connection, user_ids: set[int]) -> None:
    """Make users known; what is in the way of that is logged, and never fails a read."""
    if user_ids:
        try:
            await conn.execute(REGISTER, list(user_ids), timeout=REGISTER_TIMEOUT)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            log.warning("could not register %d users: %r", len(user_ids), error)
