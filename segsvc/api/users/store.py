"""Statements about users. The caller owns the transaction."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import asyncpg

from segsvc.db.conditions import Conflict, ElsewhereInLayer, SameLayer, SegmentsNotLive
from segsvc.db.pool import FAULTS, READ_ONLY_FAULT, Connection
from segsvc.db.quotas import Quota
from segsvc.db.sql import statement
from segsvc.db.values import Term, bounds_of

LOCK = statement("users/lock")
LIST_CONFLICTS = statement("users/list_conflicts")
CHANGE = statement("users/change")
MOVE = statement("users/move")
REGISTER = statement("users/register")
LIST_AT = statement("users/list_at")
EXPLAIN = statement("users/explain")
LIST_UPCOMING = statement("users/list_upcoming")
LIST_EVENTS = statement("users/list_events")

# Seconds: the longest time that a read waits for the registration of new users.
REGISTER_TIMEOUT = 0.5

# What becomes of memberships by hand in other segments of the layer: they refuse the request, end
# where the new one starts, or are suspended by it.
REFUSE = "refuse"
MOVE_USERS = "move"
CHOICES = (MOVE_USERS, "suspend")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """Segments to add a user to, and segments to remove the user from, by their slugs.

    `on_conflict` says what becomes of memberships by hand in other segments of the layer.
    """

    add: Mapping[str, Term]
    remove: Sequence[str]
    on_conflict: str = REFUSE


@dataclass(frozen=True)
class Changed:
    """The slugs of the segments that a request changed, sorted."""

    added: list[str]
    removed: list[str]


@dataclass(frozen=True)
class Membership:
    """Why a user is in a segment, suspended or excluded from it, as `state` says.

    `percent` and `point` (of 2^32) are None in a manual segment, `expires_at` is None without an
    end, `actor` is None without an API key. `by_slug` is the segment that suspends it.
    """

    slug: str
    state: str
    by_hand: bool
    by_slug: str | None
    since: datetime
    expires_at: datetime | None
    percent: Decimal | None
    point: int | None
    actor: str | None

    @property
    def source(self) -> str:
        """`manual` or `rollout`."""
        return "manual" if self.by_hand else "rollout"


@dataclass(frozen=True)
class PlannedMembership:
    """A membership that has not started. `expires_at` and `actor` as in `Membership`."""

    slug: str
    starts_at: datetime
    expires_at: datetime | None
    actor: str | None


@dataclass(frozen=True)
class Event:
    """A user entered a segment (`operation` is "add") or left it ("remove")."""

    at: datetime
    slug: str
    operation: str
    cause: str
    actor: str | None


async def change(
    conn: Connection, user_id: int, wanted: Change, actor: str | None = None
) -> Changed:
    """Add a user to segments and remove the user from others.

    Raises:
        SegmentsNotLive: some of the slugs are not live; nothing was changed.
        PastStart: some of the memberships would start in the past; nothing was changed.
        StartAfterEnd: some of their segments would have ended; nothing was changed.
        PastExpiry: some of them would end before they start; nothing was changed.
        SameLayer: some of the segments to add are in one layer; nothing was changed.
        ElsewhereInLayer: the user is in another segment of a layer, and that is to be refused;
            nothing was changed.
    """
    lock = await conn.fetchrow(LOCK, user_id, [*wanted.add, *wanted.remove])
    assert lock is not None
    ids = dict(zip(lock["slugs"], lock["ids"], strict=True))
    if unknown := {*wanted.add, *wanted.remove} - ids.keys():
        raise SegmentsNotLive(unknown)
    now = lock["locked_at"]
    bounds = bounds_of(wanted.add, now, dict(zip(lock["slugs"], lock["ends"], strict=True)))
    starts, ends = [start for start, _ in bounds.values()], [end for _, end in bounds.values()]
    adding = (user_id, now, [ids[slug] for slug in bounds], starts, ends)
    removed = [ids[slug] for slug in set(wanted.remove)]
    slugs = {segment_id: slug for slug, segment_id in ids.items()}
    layers = dict(zip(lock["slugs"], lock["layers"], strict=True))
    in_layers = [slug for slug in bounds if layers[slug] is not None]
    times = Counter(layers[slug] for slug in in_layers)
    if together := {slug for slug in in_layers if times[layers[slug]] > 1}:
        raise SameLayer(together)
    if in_layers and wanted.on_conflict == REFUSE:
        rows = await conn.fetch(LIST_CONFLICTS, *adding, removed)
        if rows:
            raise ElsewhereInLayer([Conflict(slugs[id_], *row) for id_, *row in rows])
    rows = await conn.fetch(CHANGE, *adding, removed, actor)
    if in_layers and wanted.on_conflict == MOVE_USERS:
        await conn.execute(MOVE, *adding, actor)
    return Changed(
        added=sorted(slugs[row["segment_id"]] for row in rows if row["included"]),
        removed=sorted(slugs[row["segment_id"]] for row in rows if not row["included"]),
    )


async def list_at(
    conn: Connection, user_ids: Sequence[int], at: datetime | None, quota: Quota
) -> list[list[str]]:
    """Return the sorted slugs of each user's segments as of `at`, None for now.

    Users who were not known become known.

    Raises:
        QuotaUsedUp: `quota` has none left for them.
    """
    rows = await fetch_at(conn, user_ids, at)
    await make_known(conn, {row["user_id"] for row in rows if not row["known"]}, quota)
    return [row["segments"] for row in rows]


async def fetch_at(
    conn: Connection, user_ids: Sequence[int], at: datetime | None = None
) -> list[asyncpg.Record]:
    """Return the rows of `list_at`; the caller registers the users who are not `known`."""
    return await conn.fetch(LIST_AT, user_ids, at)


async def explain(conn: Connection, user_id: int) -> list[Membership]:
    """Return why a known user is in segments or excluded from them now, sorted by the slugs."""
    return [Membership(**row) for row in await conn.fetch(EXPLAIN, user_id)]


async def list_upcoming(conn: Connection, user_id: int) -> list[PlannedMembership]:
    """Return the planned memberships of a user in the order of their starts."""
    return [PlannedMembership(**row) for row in await conn.fetch(LIST_UPCOMING, user_id)]


async def list_events(
    conn: Connection,
    user_id: int,
    between: tuple[datetime, datetime],
    after: tuple[datetime, str],
    limit: int,
) -> list[Event]:
    """Return up to `limit` events of a known user, in order, from after the one at `after`."""
    rows = await conn.fetch(LIST_EVENTS, user_id, *between, *after, limit)
    return [Event(**row) for row in rows]


async def register(conn: Connection, user_ids: set[int]) -> int:
    """Make users known and return how many were not.

    A failure is logged and does not fail the read.
    """
    if user_ids:
        try:
            done = await conn.execute(REGISTER, list(user_ids), timeout=REGISTER_TIMEOUT)
            return int(done.rpartition(" ")[2])
        except asyncpg.ReadOnlySQLTransactionError:
            FAULTS.found(READ_ONLY_FAULT, "the database takes no writes: users stay unknown")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            log.warning("could not register %d users: %r", len(user_ids), error)
    return 0


async def make_known(conn: Connection, user_ids: set[int], quota: Quota) -> None:
    """Register users who may be known already.

    Raises:
        QuotaUsedUp: `quota` has none left for them.
    """
    quota.take(len(user_ids))
    quota.give_back(len(user_ids) - await register(conn, user_ids))
