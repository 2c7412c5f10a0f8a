"""Changes of segments: one transaction each, recorded in the audit log."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from aiohttp import web

from segsvc.api.audit.changes import record_members, recorded
from segsvc.api.members import sets
from segsvc.api.members import store as members
from segsvc.api.members.store import Operation
from segsvc.api.segments import store
from segsvc.api.segments.percentages import Step
from segsvc.auth.keys import actor
from segsvc.db.conditions import PastEnd, PastPreview, PastStep, StepAfterEnd
from segsvc.db.pool import Connection, connection
from segsvc.db.values import rfc3339
from segsvc.http.app_keys import IMPORTS, LARGE_READS, POOL
from segsvc.http.problems import SlugTaken
from segsvc.http.requests import author, refusal


async def create(request: web.Request, new: dict[str, Any]) -> store.CountedSegment:
    """Create a segment as a loaded `NewSegmentSchema` says.

    Raises:
        SlugTaken: a live segment has the slug.
        UnknownSegments, InvalidRequest: the set of its first members cannot be found.
    """
    parts, at = new.pop("parts"), new.pop("at")
    if parts is None:
        async with (
            connection(request.app[POOL]) as conn,
            conn.transaction(),
            _recorded(request, conn, new["slug"]),
        ):
            return await _create(conn, new, actor(request))
    async with request.app[IMPORTS].open() as conn:
        named = sets.named(parts, at)
        users = await sets.resolve(conn, named)
        async with conn.transaction():
            async with _recorded(request, conn, new["slug"]):
                segment = await _create(conn, new, actor(request))
            addition = members.Change(segment.slug, Operation.ADD, actor=actor(request))
            done = await members.change_set(conn, addition, users)
            await record_members(conn, author(request), addition, done, sets.shown(named))
    return replace(segment, members=done.added)


async def change(
    request: web.Request, slug: str, changes: Mapping[str, Any]
) -> store.CountedSegment:
    """Change a live segment as a loaded `SegmentChangeSchema` says.

    Raises:
        InvalidRequest: the planned end is not possible.
        SegmentsNotLive, PlanPending, NotEnoughFree: as `store.change` does.
    """
    async with connection(request.app[POOL]) as conn:
        try:
            async with conn.transaction(), _recorded(request, conn, slug):
                await store.change(conn, slug, changes, actor(request))
        except PastEnd:
            raise refusal("is not in the future", ("ends_at",)) from None
        except StepAfterEnd as error:
            detail = f"is not after the last step of the plan: one is at {rfc3339(error.at)}"
            raise refusal(detail, ("ends_at",)) from None
        # Counting the members of a large segment takes time, so it is done after the locks are
        # gone. What another request changed since then is not part of this answer.
        fields = {name: value for name, value in changes.items() if name != "plan"}
        return replace(await store.get(conn, slug), **fields)


async def delete(request: web.Request, slug: str) -> None:
    """Delete a live segment.

    Raises:
        SegmentsNotLive: the slug is not live.
    """
    async with (
        connection(request.app[POOL]) as conn,
        conn.transaction(),
        _recorded(request, conn, slug),
    ):
        await store.delete(conn, slug, actor(request))


async def set_plan(
    request: web.Request, slug: str, steps: Sequence[Step], etags: Collection[str] | None
) -> store.Plan:
    """Replace what is planned for the percentage of a live segment.

    Raises:
        InvalidRequest: a step is not possible.
        SegmentsNotLive, PlanChanged, NotEnoughFree: as `store.set_plan` does.
    """
    try:
        async with (
            connection(request.app[POOL]) as conn,
            conn.transaction(),
            _recorded(request, conn, slug),
        ):
            return await store.set_plan(conn, slug, steps, etags, actor(request))
    except PastStep:
        raise refusal("is not in the future", ("steps", 0, "at")) from None
    except StepAfterEnd as error:
        place = ("steps", error.index, "at")
        raise refusal("is not before the planned end of the segment", place) from None


async def preview(
    request: web.Request, slug: str, percent: Decimal | None, at: datetime | None
) -> store.Preview:
    """Count who would enter and leave a live segment with another percentage.

    Raises:
        InvalidRequest: the time is over.
        SegmentsNotLive, NotEnoughFree: as `store.preview` does.
    """
    try:
        async with request.app[LARGE_READS].take(), connection(request.app[POOL]) as conn:
            return await store.preview(conn, slug, percent, at)
    except PastPreview:
        raise refusal("is in the past", ("at",)) from None


@asynccontextmanager
async def _recorded(request: web.Request, conn: Connection, slug: str) -> AsyncIterator[None]:
    """Lock a slug until the end of the transaction, and record what becomes of its segment."""
    await store.lock_slug(conn, slug)
    async with recorded(conn, author(request), [slug]):
        yield


async def _create(conn: Connection, new: dict[str, Any], by: str | None) -> store.CountedSegment:
    segment = await store.create(conn, **new, actor=by)
    if segment is None:
        raise SlugTaken(f"{new['slug']} is live: delete it first, or take another slug")
    return store.CountedSegment(**asdict(segment), members=0)
