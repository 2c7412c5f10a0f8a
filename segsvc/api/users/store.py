"""Statements about users. The caller owns the transaction."""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Self, get_args

import asyncpg

from segsvc.db.conditions import (
    Conflict,
    ElsewhereInLayer,
    PastExpiry,
    PastStart,
    SameLayer,
    SegmentsNotLive,
    StartAfterEnd,
)
from segsvc.db.pool import FAULTS, READ_ONLY_FAULT, Connection
from segsvc.db.quotas import Quota
from segsvc.db.sql import statement
from segsvc.db.values import Bounds, Term, bounds_of

LOCK = statement("users/lock")
LIST_FREE = statement("users/list_free")
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

    user_id: int
    add: Mapping[str, Term]
    remove: Sequence[str]
    on_conflict: str = REFUSE
    actor: str | None = None

    @property
    def slugs(self) -> set[str]:
        """All segments that it names."""
        return {*self.add, *self.remove}


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


# Why a change is refused: some of its slugs are not live, its memberships would start in the past,
# or not before the ends of their segments, or end before they start, its segments are in one layer,
# or the user is in another segment of a layer.
Refusal = SegmentsNotLive | PastStart | StartAfterEnd | PastExpiry | SameLayer | ElsewhereInLayer


class NewUsersRefused(Exception):  # noqa: N818 (a condition that the caller answers for)
    """Changes of users who were not known are refused, and the caller rolls back: they stay so."""

    def __init__(self, refused: Mapping[int, Refusal]) -> None:
        super().__init__(len(refused))
        self.refused = refused


async def change(conn: Connection, wanted: Sequence[Change]) -> dict[int, Changed | Refusal]:
    """Change the segments of different users; a change that is refused changes nothing.

    Return what became of the changes, by user id.

    Raises:
        NewUsersRefused: changes of new users are refused.
    """
    user_ids = [change.user_id for change in wanted]
    slugs = {slug for change in wanted for slug in change.slugs}
    row = await conn.fetchrow(LOCK, user_ids, list(slugs))
    assert row is not None
    locked = _Locked.of(row)
    refused: dict[int, Refusal] = {}
    allowed = []
    for each in wanted:
        try:
            allowed.append((each, locked.bounds_of(each)))
        except get_args(Refusal) as refusal:
            refused[each.user_id] = refusal
    for user_id, conflicts in (await _find_conflicts(conn, locked, allowed)).items():
        refused[user_id] = ElsewhereInLayer(conflicts)
    if not refused.keys().isdisjoint(row["registered"]):
        raise NewUsersRefused(refused)
    allowed = [(each, bounds) for each, bounds in allowed if each.user_id not in refused]
    return refused | await _apply(conn, locked, allowed)


async def list_free(conn: Connection, slugs: set[str]) -> set[str]:
    """Return which of the live segments could be locked at once, and hold them locked."""
    return {row["slug"] for row in await conn.fetch(LIST_FREE, list(slugs))}


async def _find_conflicts(
    conn: Connection, locked: "_Locked", changes: Sequence[tuple[Change, Mapping[str, Bounds]]]
) -> dict[int, list[Conflict]]:
    """Return where users are in another segment of a layer, if that is to be refused."""
    additions = [
        (each.user_id, locked.ids[slug], *term)
        for each, bounds in changes
        for slug, term in bounds.items()
        if each.on_conflict == REFUSE and locked.layers[slug] is not None
    ]
    if not additions:
        return {}
    removals = [(each.user_id, locked.ids[slug]) for each, _ in changes for slug in each.remove]
    found = defaultdict(list)
    arrays = *_columns(additions, 4), *_columns(removals, 2)
    for row in await conn.fetch(LIST_CONFLICTS, locked.at, *arrays):
        slug = locked.slugs[row["segment_id"]]
        found[row["user_id"]].append(Conflict(slug, row["slug"], row["ends_at"]))
    return found


async def _apply(
    conn: Connection, locked: "_Locked", changes: Sequence[tuple[Change, Mapping[str, Bounds]]]
) -> dict[int, Changed]:
    """Write the changes, and return what they changed, by user id."""
    rows = [
        (each.user_id, locked.ids[slug], True, *term, each.actor)
        for each, bounds in changes
        for slug, term in bounds.items()
    ]
    rows += [
        (each.user_id, locked.ids[slug], False, None, None, each.actor)
        for each, _ in changes
        for slug in set(each.remove)
    ]
    done = {each.user_id: Changed([], []) for each, _ in changes}
    for user_id, segment_id, included in await conn.fetch(CHANGE, locked.at, *_columns(rows, 6)):
        slugs = done[user_id].added if included else done[user_id].removed
        slugs.append(locked.slugs[segment_id])
    moves = [
        (each.user_id, locked.ids[slug], *term, each.actor)
        for each, bounds in changes
        for slug, term in bounds.items()
        if each.on_conflict == MOVE_USERS and locked.layers[slug] is not None
    ]
    if moves:
        await conn.execute(MOVE, locked.at, *_columns(moves, 5))
    for changed in done.values():
        changed.added.sort()
        changed.removed.sort()
    return done


@dataclass(frozen=True)
class _Locked:
    """Live segments that are locked, and the time that was read then."""

    at: datetime
    ids: Mapping[str, int]
    slugs: Mapping[int, str]
    ends: Mapping[str, datetime | None]
    layers: Mapping[str, int | None]

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        """Take what users/lock returns."""
        slugs = row["slugs"]
        return cls(
            row["locked_at"],
            dict(zip(slugs, row["ids"], strict=True)),
            dict(zip(row["ids"], slugs, strict=True)),
            dict(zip(slugs, row["ends"], strict=True)),
            dict(zip(slugs, row["layers"], strict=True)),
        )

    def bounds_of(self, change: Change) -> Mapping[str, Bounds]:
        """Return the bounds of the memberships that a change adds.

        Raises:
            SegmentsNotLive, PastStart, StartAfterEnd, PastExpiry, SameLayer: it is refused.
        """
        if unknown := change.slugs - self.ids.keys():
            raise SegmentsNotLive(unknown)
        bounds = bounds_of(change.add, self.at, self.ends)
        times = Counter(self.layers[slug] for slug in change.add)
        del times[None]
        if together := {slug for slug in change.add if times[self.layers[slug]] > 1}:
            raise SameLayer(together)
        return bounds


def _columns(rows: Sequence[Sequence[Any]], width: int) -> Sequence[Sequence[Any]]:
    """Return the columns of a table, as many as it has if it has rows."""
    return list(zip(*rows, strict=True)) or [()] * width


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
