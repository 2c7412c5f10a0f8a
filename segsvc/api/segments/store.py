"""Statements about segments. The caller owns the transaction, and locks the slug for a change."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from segsvc.api.segments.percentages import (
    Deal,
    Layer,
    Locked,
    Step,
    after_changes,
    changed_steps,
    count_moved,
    list_steps,
    merged,
    set_steps,
    shares_of,
)
from segsvc.db import clock
from segsvc.db.conditions import (
    PastEnd,
    PastPreview,
    PastStep,
    PlanChanged,
    SegmentsNotLive,
    StepAfterEnd,
)
from segsvc.db.pool import Connection
from segsvc.db.sql import statement
from segsvc.db.values import ended, rfc3339

FIND = statement("segments/find")
LOCK_SLUG = statement("segments/lock_slug")
LOCK_LAYER = statement("segments/lock_layer")
LOCK = statement("segments/lock")
FIND_LAYER = statement("segments/find_layer")
CREATE = statement("segments/create")
LIST_LIVE = statement("segments/list_live")
LIST_SORTED = statement("segments/list_sorted")
GET = statement("segments/get")
DESCRIBE = statement("segments/describe")
SET_END = statement("segments/set_end")
DELETE = statement("segments/delete")


@dataclass(frozen=True)
class Segment:
    """A segment. `percent` is None in a manual one, `ends_at` and `layer` are None without one."""

    slug: str
    description: str
    percent: Decimal | None
    created_at: datetime
    ends_at: datetime | None
    layer: str | None


@dataclass(frozen=True)
class CountedSegment(Segment):
    """A live segment with the number of users who are in by hand."""

    members: int


class Sort(StrEnum):
    """The order of a list of segments: by slug, or the newest or largest first."""

    SLUG = "slug"
    CREATED_AT = "created_at"
    MEMBERS = "members"


@dataclass(frozen=True)
class RankedSegment(Segment):
    """A live segment with its rank in a list; `members` is None unless it is the rank."""

    rank: int
    members: int | None


@dataclass(frozen=True)
class Preview:
    """How many known users would enter a segment and leave it if it had `percent` at a time."""

    percent: Decimal | None
    at: datetime
    enter: int
    leave: int


@dataclass(frozen=True)
class Plan:
    """What is planned for the percentage of a segment: steps in the order of their times."""

    steps: list[Step]

    @property
    def etag(self) -> str:
        """The entity tag: two plans with the same steps have the same."""
        text = "".join(f"{rfc3339(step.at)}={step.percent}," for step in self.steps)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


async def lock_slug(conn: Connection, slug: str) -> None:
    """Wait for other changes of the segment of this slug, and hold them off until the commit."""
    await conn.execute(LOCK_SLUG, slug)


async def create(
    conn: Connection,
    slug: str,
    description: str = "",
    percent: Decimal | None = None,
    actor: str | None = None,
) -> Segment | None:
    """Create a segment and return it, or None if a live one has the slug."""
    row = await conn.fetchrow(CREATE, slug, description, percent, actor)
    return Segment(**row, ends_at=None, layer=None) if row else None


async def list_live(conn: Connection, after: str, limit: int, q: str | None) -> list[Segment]:
    """Return up to `limit` live segments whose slugs sort after `after`, in that order.

    With `q`, only those that have it in their slug or description, in any case.
    """
    return [Segment(**row) for row in await conn.fetch(LIST_LIVE, after, q, limit)]


async def list_sorted(
    conn: Connection, sort: Sort, after: tuple[int, str] | None, limit: int, q: str | None
) -> list[RankedSegment]:
    """Return up to `limit` live segments, those of the highest rank first.

    `after` are the rank and the slug of the last segment of the page before; `q` as above.
    """
    rows = await conn.fetch(LIST_SORTED, sort, q, *(after or (None, "")), limit)
    return [RankedSegment(**row) for row in rows]


async def get(conn: Connection, slug: str, at: datetime | None = None) -> CountedSegment:
    """Return the segment of this slug as of `at`, None for now.

    Raises:
        SegmentsNotLive: there is none at that time.
    """
    row = await conn.fetchrow(GET, slug, at)
    if row is None:
        raise SegmentsNotLive({slug})
    return CountedSegment(**row)


async def find(conn: Connection, slug: str, at: datetime | None = None) -> int:
    """Return the id of the segment of this slug that is live at `at`, None for now.

    Raises:
        SegmentsNotLive: there is none at that time.
    """
    segment_id: int | None = await conn.fetchval(FIND, slug, at)
    if segment_id is None:
        raise SegmentsNotLive({slug})
    return segment_id


async def change(
    conn: Connection, slug: str, changes: Mapping[str, Any], actor: str | None = None
) -> None:
    """Change the `description`, the `percent` or the end of a live segment, or several of them.

    A `percent` of None makes the segment manual. `plan` says what becomes of a pending plan: "keep"
    or "cancel". `ends_at` plans the end, None lifts it.

    Raises:
        SegmentsNotLive: the slug is not live; nothing was changed.
        PlanPending: there is a plan, and no word about it; nothing was changed.
        PastEnd: the end is not in the future; nothing was changed.
        StepAfterEnd: the plan has a step at the end or after it; the caller rolls back.
        NotEnoughFree: its layer has not as many points, or not for as long; the caller rolls back.
    """
    segment = await _lock(conn, slug)
    ends_at = changes.get("ends_at")
    if ended(ends_at, segment.locked_at):
        raise PastEnd
    if "percent" in changes:
        await set_percent(conn, segment, changes["percent"], changes.get("plan"), actor)
    if "ends_at" in changes:
        await _set_end(conn, segment, ends_at, actor)
    if "description" in changes:
        await conn.execute(DESCRIBE, segment.id, changes["description"])


async def set_percent(
    conn: Connection,
    segment: Locked,
    percent: Decimal | None,
    plan_becomes: str | None,
    actor: str | None,
) -> None:
    """Set the percentage of a locked segment; `plan_becomes` is the `plan` of `change`.

    Raises:
        PlanPending: there is a plan, and no word about it; nothing was changed.
        NotEnoughFree: its layer has not as many points; nothing was changed.
    """
    steps = await changed_steps(conn, segment, percent, plan_becomes)
    before, _ = await list_steps(conn, segment.id, segment.locked_at)
    await set_steps(conn, segment, merged(before, steps), actor)


async def get_plan(conn: Connection, slug: str) -> Plan:
    """Return what is planned for the percentage of a live segment.

    Raises:
        SegmentsNotLive: the slug is not live.
    """
    _, plan = await list_steps(conn, await find(conn, slug), None)
    return Plan(plan)


async def preview(
    conn: Connection, slug: str, percent: Decimal | None, at: datetime | None
) -> Preview:
    """Return who would enter and leave a live segment if it had `percent` at a time, None for now.

    Raises:
        SegmentsNotLive: the slug is not live.
        PastPreview: the time is over.
        NotEnoughFree: its layer has not as many points.
    """
    segment_id, now = await find(conn, slug), await clock.now(conn)
    if at is not None and at < now:
        raise PastPreview
    then = at or now
    row = await conn.fetchrow(FIND_LAYER, segment_id, then)
    segment = Locked(segment_id, slug, None, then, Layer(row["id"], row["salt"]) if row else None)
    shares = await shares_of(conn, segment, [Step(then, percent)])
    deal = Deal(segment_id, slug, then, shares.salt, shares.points[0])
    moved = await count_moved(conn, deal, row["neighbours"] if row else [])
    return Preview(percent, then, moved.enter, moved.leave)


async def set_plan(
    conn: Connection,
    slug: str,
    steps: Sequence[Step],
    etags: Collection[str] | None = None,
    actor: str | None = None,
) -> Plan:
    """Replace what is planned for the percentage of a live segment; no steps cancel it.

    Steps that change nothing are left out. With `etags`, only a plan that has one of them is
    replaced; "*" is any.

    Raises:
        SegmentsNotLive: the slug is not live; nothing was changed.
        PlanChanged: the plan has another entity tag; nothing was changed.
        PastStep: the first step is not in the future; nothing was changed.
        StepAfterEnd: a step is not before the end of the segment; nothing was changed.
        NotEnoughFree: its layer has not as many points; nothing was changed.
    """
    segment = await _lock(conn, slug)
    percent, stored = await list_steps(conn, segment.id, segment.locked_at)
    plan = Plan(stored)
    if etags is not None and not {"*", plan.etag} & set(etags):
        raise PlanChanged
    if steps and steps[0].at <= segment.locked_at:
        raise PastStep
    _refuse_steps_after(segment.ends_at, steps)
    wanted = Plan(merged(percent, steps))
    if wanted != plan:
        await set_steps(conn, segment, wanted.steps, actor)
    return wanted


async def delete(conn: Connection, slug: str, actor: str | None = None) -> None:
    """End the life of a segment.

    Raises:
        SegmentsNotLive: the slug is not live; nothing was changed.
    """
    segment = await _lock(conn, slug)
    await conn.execute(DELETE, segment.id, segment.locked_at, actor)


async def _set_end(
    conn: Connection, segment: Locked, ends_at: datetime | None, actor: str | None
) -> None:
    _, plan = await list_steps(conn, segment.id, segment.locked_at)
    _refuse_steps_after(ends_at, plan)
    if segment.layer is not None:
        # The points may be planned for another segment from the old end on.
        await set_steps(conn, replace(segment, ends_at=ends_at), plan, actor)
    await conn.execute(SET_END, segment.id, ends_at, actor)


def _refuse_steps_after(ends_at: datetime | None, steps: Sequence[Step]) -> None:
    for index, step in enumerate(steps):
        if ended(ends_at, step.at):
            raise StepAfterEnd(index, step.at)


async def _lock(conn: Connection, slug: str) -> Locked:
    """Lock a live segment for a change, and its layer if it is in one."""
    found = await conn.fetchrow(LOCK_LAYER, slug)
    layer = Layer(**found) if found else None
    row = await conn.fetchrow(LOCK, slug)
    if row is None:
        raise SegmentsNotLive({slug})
    return Locked(row["id"], slug, row["ends_at"], after_changes(row["locked_at"], layer), layer)
