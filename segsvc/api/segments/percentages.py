"""The percentages of a segment: their steps in time, and the points that they take."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

import asyncpg

from segsvc.api.segments import points
from segsvc.api.segments.points import NotFree, Points
from segsvc.db.conditions import NotEnoughFree, PlanPending
from segsvc.db.pool import Connection
from segsvc.db.sql import statement
from segsvc.db.values import ended

LIST_STEPS = statement("segments/list_steps")
LIST_POINTS = statement("segments/list_points")
SET_ROLLOUTS = statement("segments/set_rollouts")
PREVIEW = statement("segments/preview")


@dataclass(frozen=True)
class Step:
    """The percentage of a segment from a time on; None: it is manual from then on."""

    at: datetime
    percent: Decimal | None


@dataclass(frozen=True)
class Layer:
    """A locked layer, in which segments share the points of one salt.

    `changed_at` is the latest start of a percentage in it that was not planned.
    """

    id: int
    salt: str
    changed_at: datetime | None = None


@dataclass(frozen=True)
class Locked:
    """A live segment that is locked for a change since a time, and its layer if it is in one."""

    id: int
    slug: str
    ends_at: datetime | None
    locked_at: datetime
    layer: Layer | None


@dataclass(frozen=True)
class Shares:
    """The points of a salt that a segment has: from each of some steps on."""

    salt: str
    points: list[Points]


@dataclass(frozen=True)
class Deal:
    """Points that a segment has from a time on, by one salt, instead of what it had by then."""

    segment_id: int
    slug: str
    at: datetime
    salt: str
    points: Points


@dataclass(frozen=True)
class Moved:
    """How many known users enter a segment and leave it."""

    enter: int
    leave: int


def after_changes(now: datetime, layer: Layer | None) -> datetime:
    """Return `now`, or a time after every change in the layer if the clock has stepped back."""
    if layer is None or layer.changed_at is None:
        return now
    return max(now, layer.changed_at + timedelta(microseconds=1))


async def list_steps(
    conn: Connection, segment_id: int, at: datetime | None
) -> tuple[Decimal | None, list[Step]]:
    """Return the percentage in force at a time, None for now, and the steps that follow then."""
    rows = await conn.fetch(LIST_STEPS, segment_id, at)
    in_force = [row["percent"] for row in rows if not row["planned"]]
    plan = [Step(row["at"], row["percent"]) for row in rows if row["planned"]]
    return in_force[-1] if in_force else None, plan


async def changed_steps(
    conn: Connection, segment: Locked, percent: Decimal | None, plan_becomes: str | None
) -> list[Step]:
    """Return the steps of a locked segment that gets a percentage now.

    Its plan is kept if `plan_becomes` is "keep", and dropped if it is "cancel".

    Raises:
        PlanPending: there is a plan, and no word about it.
    """
    _, plan = await list_steps(conn, segment.id, segment.locked_at)
    if plan and plan_becomes is None:
        raise PlanPending
    return [Step(segment.locked_at, percent), *(plan if plan_becomes == "keep" else [])]


def merged(percent: Decimal | None, steps: Iterable[Step]) -> list[Step]:
    """Return the steps that change the percentage, which is `percent` before the first one."""
    changing = []
    for step in steps:
        if step.percent != percent:
            changing.append(step)
            percent = step.percent
    return changing


async def set_steps(
    conn: Connection, segment: Locked, steps: Sequence[Step], actor: str | None
) -> Shares:
    """Replace the percentages of a locked segment from the first step on; return their points.

    Raises:
        NotEnoughFree: its layer has not as many points; nothing was changed.
    """
    shares = await shares_of(conn, segment, steps)
    await conn.execute(
        SET_ROLLOUTS,
        segment.id,
        segment.locked_at,
        [step.at for step in steps],
        [step.percent for step in steps],
        segment.layer.id if segment.layer else None,
        shares.salt,
        [points.text(each) for each in shares.points],
        actor,
    )
    return shares


async def shares_of(conn: Connection, segment: Locked, steps: Sequence[Step]) -> Shares:
    """Return the points that a segment takes if these steps replace what is planned for it.

    Raises:
        NotEnoughFree: its layer has not as many points.
    """
    if segment.layer is None:
        shares = [points.lowest(points.count_of(step.percent)) for step in steps]
        return Shares(segment.slug, shares)
    held = await conn.fetch(LIST_POINTS, segment.layer.id, segment.id, segment.locked_at)
    own, others = _own(held, segment), [row for row in held if row["segment_id"] != segment.id]
    counts = [(step.at, points.count_of(step.percent)) for step in steps]
    if own and (not steps or steps[0].at > segment.locked_at):
        # What is in force lasts until the first step, which may be longer than it was planned to.
        counts.insert(0, (segment.locked_at, points.size(own[0])))
    shares = []
    for index, (start, count) in enumerate(counts):
        end = counts[index + 1][0] if index + 1 < len(counts) else segment.ends_at
        taken, taken_later = _taken(others, start, end), _taken(others, start, segment.ends_at)
        try:
            share = points.resized(own, count, taken, taken_later)
        except NotFree as error:
            free = points.percent_of(error.count)
            raise NotEnoughFree(segment.slug, free, start) from None
        own = [share, *own] if share else []
        shares.append(share)
    return Shares(segment.layer.salt, shares[len(shares) - len(steps) :])


async def deal(
    conn: Connection,
    segment: Locked,
    layer: Layer | None,
    steps: Sequence[Step],
    actor: str | None,
) -> Deal | None:
    """Give the percentages of a locked segment, from now on, points of another layer or of none.

    Return what that changes, None if no user enters or leaves because of the points.

    Raises:
        NotEnoughFree: the layer has not as many points; nothing was changed.
    """
    if all(step.percent is None for step in steps):
        return None
    before = await _stored(conn, segment, steps)
    after = await set_steps(conn, replace(segment, layer=layer), steps, actor)
    if after == before or not any(after.points):
        return None
    return Deal(segment.id, segment.slug, segment.locked_at, after.salt, after.points[0])


async def count_moved(conn: Connection, deal: Deal, neighbours: Sequence[int]) -> Moved:
    """Count whom points bring in and take out; `neighbours` are the other segments of the layer."""
    row = await conn.fetchrow(
        PREVIEW, deal.segment_id, deal.at, deal.salt, points.text(deal.points), neighbours
    )
    assert row is not None
    return Moved(**row)


async def _stored(conn: Connection, segment: Locked, steps: Sequence[Step]) -> Shares:
    """Return the points that a locked segment has from each step on: those in force or planned."""
    if segment.layer is None:
        return await shares_of(conn, segment, steps)
    held = await conn.fetch(LIST_POINTS, segment.layer.id, segment.id, segment.locked_at)
    ahead = [
        points.of_ranges(row["points"])
        for row in reversed(held)
        if row["segment_id"] == segment.id and not ended(row["valid_to"], segment.locked_at)
    ]
    shares = iter(ahead)
    return Shares(
        segment.layer.salt, [[] if step.percent is None else next(shares) for step in steps]
    )


def _taken(others: Iterable[asyncpg.Record], start: datetime, end: datetime | None) -> Points:
    """Return the points that other segments have at some time from `start` to `end`."""
    meanwhile = (
        row
        for row in others
        if not ended(end, row["valid_from"]) and not ended(row["valid_to"], start)
    )
    return points.union(*(points.of_ranges(row["points"]) for row in meanwhile))


def _own(held: Iterable[asyncpg.Record], segment: Locked) -> list[Points]:
    """Return the points that a segment has, and had before without a gap, the newest first."""
    own: list[Points] = []
    until = None
    for row in held:
        if row["segment_id"] != segment.id or row["planned"]:
            continue
        if row["valid_to"] != until if own else ended(row["valid_to"], segment.locked_at):
            break
        own.append(points.of_ranges(row["points"]))
        until = row["valid_from"]
    return own
