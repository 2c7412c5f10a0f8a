"""Statements about events of all users, read in one order from any position on."""

import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from segsvc.db.pool import Connection
from segsvc.db.sql import statement

ADVANCE_HORIZON = statement("events/advance_horizon")
GET_HORIZON = statement("events/get_horizon")
FIND_CUT = statement("events/find_cut")
FIND_SEGMENT = statement("events/find_segment")
LIST_BETWEEN = statement("events/list_between")
LIST_AT = statement("events/list_at")
GET_PRUNED = statement("events/get_pruned")
LIST_SEGMENTS = statement("events/list_segments")

# Bounds of periods, or users, that one statement looks at, and the most such statements for a page.
SCAN = 1000
MOST_STEPS = 20

# Seconds after which a page has no further step.
LONGEST_PAGE = 1.0

# Of the times in PostgreSQL.
RESOLUTION = timedelta(microseconds=1)


class Position(NamedTuple):
    """A place between events: after those up to this time, segment and user."""

    at: datetime
    segment_id: int = 0
    user_id: int = 0

    @classmethod
    def after(cls, at: datetime) -> "Position":
        """Return the place after all events at a time."""
        return cls(at + RESOLUTION)


@dataclass(frozen=True)
class Event:
    """A user entered (`add`) or left (`remove`) a segment; `id` is the position after it."""

    id: Position
    slug: str
    operation: str
    cause: str
    actor: str | None

    @property
    def at(self) -> datetime:
        """The time."""
        return self.id.at

    @property
    def user_id(self) -> int:
        """The user."""
        return self.id.user_id


@dataclass(frozen=True)
class Horizon:
    """The time before which no event appears any more.

    Attributes:
        at: the time, None if the start of a transaction cannot be seen.
        lag: its age in seconds, None as above.
        pruned_before: events before this time may be gone; None: everything is kept.
    """

    at: datetime | None
    lag: float | None
    pruned_before: datetime | None = None


class Pruned(Exception):  # noqa: N818 (a state, not a mistake)
    """Events after a position may be gone; the argument is the time that they are kept from."""


async def advance_horizon(conn: Connection) -> Horizon:
    """Store how far the feed may be served, and return how far that is by now."""
    stored = await conn.fetchrow(ADVANCE_HORIZON)
    assert stored is not None
    found = await _horizon(conn, stored["bound"])
    return replace(found, pruned_before=stored["pruned_before"])


async def lag(conn: Connection) -> float | None:
    """Return the age of the horizon in seconds, without moving it; None if it cannot be seen."""
    return (await _horizon(conn, None)).lag


async def _horizon(conn: Connection, bound: datetime | None) -> Horizon:
    row = await conn.fetchrow(GET_HORIZON, bound)
    assert row is not None
    return Horizon(row["horizon"], row["lag"])


async def changed(conn: Connection, start: datetime, end: datetime) -> bool:
    """Return whether there may be an event from `start` to before `end`, a horizon."""
    if start >= end:
        return False
    cut = await conn.fetchval(FIND_CUT, start, end, 1)
    # None: the clock has stepped back since the horizon was read.
    return cut is None or cut < end


@dataclass(frozen=True)
class Life:
    """A segment that has or had a slug."""

    id: int
    slug: str
    created_at: datetime


async def list_lives(conn: Connection, slugs: Collection[str]) -> list[Life]:
    """Return all segments that have or had some slugs."""
    return [Life(**row) for row in await conn.fetch(LIST_SEGMENTS, list(slugs))]


async def list_page(
    conn: Connection,
    after: Position,
    horizon: datetime,
    limit: int,
    slugs: Collection[str] | None,
) -> tuple[list[Event], Position]:
    """Return up to `limit` events after a position and before `horizon`, and the next position.

    It looks at a bounded number of rows, so there may be fewer events, or none, before the next
    position is at the horizon. With slugs, only the events of these segments.

    Raises:
        Pruned: some of these events may be gone.
    """
    events: list[Event] = []
    position = after
    # In one transaction, now() does not step back: the statements read no event after it.
    async with conn.transaction():
        ids = None if slugs is None else [life.id for life in await list_lives(conn, slugs)]
        end = time.monotonic() + LONGEST_PAGE
        for _ in range(MOST_STEPS):
            cut = await conn.fetchval(FIND_CUT, position.at, horizon, SCAN)
            if cut is None:
                break
            step = _read_until if cut > position.at else _read_at
            found, position = await step(conn, position, cut, limit - len(events), ids)
            events += found
            if len(events) == limit or time.monotonic() > end:
                break
    pruned_before = await conn.fetchval(GET_PRUNED)
    if pruned_before is not None and after.at < pruned_before:
        raise Pruned(pruned_before)
    return events, position


async def _read_until(
    conn: Connection,
    after: Position,
    cut: datetime,
    limit: int,
    ids: list[int] | None,
) -> tuple[list[Event], Position]:
    """Read events after a position and before a later time."""
    rows = await conn.fetch(LIST_BETWEEN, *after, cut, ids, limit)
    events = [_event(row) for row in rows]
    return events, events[-1].id if len(events) == limit else Position(cut)


async def _read_at(
    conn: Connection,
    after: Position,
    at: datetime,
    limit: int,
    ids: list[int] | None,
) -> tuple[list[Event], Position]:
    """Read events at one time, at which very many may happen, in one segment."""
    segment_id = await conn.fetchval(FIND_SEGMENT, at, after.segment_id)
    if segment_id is None:
        return [], Position.after(at)
    following = Position(at, segment_id + 1)
    if ids is not None and segment_id not in ids:
        return [], following
    user_id = after.user_id if segment_id == after.segment_id else 0
    rows = await conn.fetch(LIST_AT, at, segment_id, user_id, SCAN)
    events = [_event(row) for row in rows if row["user_id"] is not None]
    if len(events) > limit:
        return events[:limit], events[limit - 1].id
    scanned_until = rows[0]["scanned_until"]
    if scanned_until is not None:
        following = Position(at, segment_id, scanned_until)
    return events, following


def _event(row: Any) -> Event:
    """Return the event of a row."""
    id_ = Position(row["at"], row["segment_id"], row["user_id"])
    return Event(id_, row["slug"], row["operation"], row["cause"], row["actor"])
