"""Statements about segments. The caller owns the transaction."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg

from segsvc.db import clock
from segsvc.db.conditions import (
    PastEnd,
    PastPreview,
    PastStep,
    PlanChanged,
    PlanPending,
    SegmentsNotLive,
    StepAfterEnd,
)
from segsvc.db.pool import Connection
from segsvc.db.sql import statement
from segsvc.db.values import ended, rfc3339

FIND = statement("segments/find")
LOCK_SLUG = statement("segments/lock_slug")
LOCK = statement("segments/lock")
CREATE = statement("segments/create")
LIST_LIVE = statement("segments/list_live")
GET = statement("segments/get")
DESCRIBE = statement("segments/describe")
LIST_STEPS = statement("segments/list_steps")
SET_ROLLOUTS = statement("segments/set_rollouts")
PREVIEW = statement("segments/preview")
SET_END = statement("segments/set_end")
DELETE = statement("segments/delete")


@dataclass(frozen=True)
class Segment:
    """A segment. `percent` is None in a manual one, `ends_at` is None without an end."""

    slug: str
    description: str
    percent: Decimal | None
    created_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True)
class CountedSegment(Segment):
    """A live segment with the number of users who are in by hand."""

    members: int


@dataclass(frozen=True)
class Step:
    """The percentage of a segment from a time on; None: it is manual from then on."""

    at: datetime
    percent: Decimal | None


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


async def create(
    conn: Connection,
    slug: str,
    description: str = "",
    percent: Decimal | None = None,
    actor: str | None = None,
) -> Segment | None:
    """Create a segment and return it, or None if a live one has the slug."""
    await conn.execute(LOCK_SLUG, slug)
    row = await conn.fetchrow(CREATE, slug, description, percent, actor)
    return Segment(**row, ends_at=None) if row else None


async def list_live(conn: Connection, after: str, limit: int) -> list[Segment]:
    """Return up to `limit` live segments whose slugs sort after `after`, in that order."""
    return [Segment(**row) for row in await conn.fetch(LIST_LIVE, after, limit)]


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
    """
    lock = await _lock(conn, slug)
    ends_at = changes.get("ends_at")
    if ended(ends_at, lock["locked_at"]):
        raise PastEnd
    if "percent" in changes:
        percent, plan = await _steps(conn, lock["id"], lock["locked_at"])
        if plan.steps and "plan" not in changes:
            raise PlanPending
        kept = plan.steps if changes.get("plan") == "keep" else []
        steps = [Step(lock["locked_at"], changes["percent"]), *kept]
        await _set_rollouts(conn, lock, _merged(percent, steps), actor)
    if "ends_at" in changes:
        _, plan = await _steps(conn, lock["id"], lock["locked_at"])
        _refuse_steps_after(ends_at, plan.steps)
        await conn.execute(SET_END, lock["id"], ends_at, actor)
    if "description" in changes:
        await conn.execute(DESCRIBE, lock["id"], changes["description"])


async def get_plan(conn: Connection, slug: str) -> Plan:
    """Return what is planned for the percentage of a live segment.

    Raises:
        SegmentsNotLive: the slug is not live.
    """
    _, plan = await _steps(conn, await find(conn, slug), None)
    return plan


async def preview(
    conn: Connection, slug: str, percent: Decimal | None, at: datetime | None
) -> Preview:
    """Return who would enter and leave a live segment if it had `percent` at a time, None for now.

    Raises:
        SegmentsNotLive: the slug is not live.
        PastPreview: the time is over.
    """
    segment_id, now = await find(conn, slug), await clock.now(conn)
    if at is not None and at < now:
        raise PastPreview
    (row,) = await conn.fetch(PREVIEW, segment_id, percent, at or now)
    return Preview(percent, at or now, **row)


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
    """
    lock = await _lock(conn, slug)
    percent, plan = await _steps(conn, lock["id"], lock["locked_at"])
    if etags is not None and not {"*", plan.etag} & set(etags):
        raise PlanChanged
    if steps and steps[0].at <= lock["locked_at"]:
        raise PastStep
    _refuse_steps_after(lock["ends_at"], steps)
    merged = Plan(_merged(percent, steps))
    if merged != plan:
        await _set_rollouts(conn, lock, merged.steps, actor)
    return merged


async def delete(conn: Connection, slug: str, actor: str | None = None) -> None:
    """End the life of a segment.

    Raises:
        SegmentsNotLive: the slug is not live; nothing was changed.
    """
    lock = await _lock(conn, slug)
    await conn.execute(DELETE, lock["id"], lock["locked_at"], actor)


async def _steps(
    conn: Connection, segment_id: int, at: datetime | None
) -> tuple[Decimal | None, Plan]:
    """Return the percentage in force at a time, None for now, and what is planned then."""
    rows = await conn.fetch(LIST_STEPS, segment_id, at)
    in_force = [row["percent"] for row in rows if not row["planned"]]
    percent = in_force[-1] if in_force else None
    return percent, Plan([Step(row["at"], row["percent"]) for row in rows if row["planned"]])


def _merged(percent: Decimal | None, steps: Iterable[Step]) -> list[Step]:
    """Return the steps that change the percentage, which is `percent` before the first one."""
    merged = []
    for step in steps:
        if step.percent != percent:
            merged.append(step)
            percent = step.percent
    return merged


def _refuse_steps_after(ends_at: datetime | None, steps: Sequence[Step]) -> None:
    for index, step in enumerate(steps):
        if ended(ends_at, step.at):
            raise StepAfterEnd(index, step.at)


async def _set_rollouts(
    conn: Connection, lock: asyncpg.Record, steps: list[Step], actor: str | None
) -> None:
    starts, percents = [step.at for step in steps], [step.percent for step in steps]
    await conn.execute(SET_ROLLOUTS, lock["id"], lock["locked_at"], starts, percents, actor)


async def _lock(conn: Connection, slug: str) -> asyncpg.Record:
    """Lock a live segment for a change; return its `id`, `ends_at` and the time, `locked_at`."""
    await conn.execute(LOCK_SLUG, slug)
    row = await conn.fetchrow(LOCK, slug)
    if row is None:
        raise SegmentsNotLive({slug})
    return row
