"""Segments: create, list, read, change and delete them."""

from dataclasses import asdict, replace

from aiohttp import web

from segsvc.api.segments import store
from segsvc.api.segments.percentages import Step
from segsvc.api.segments.schemas import (
    NEW_SEGMENT,
    PLAN,
    PREVIEW,
    PREVIEW_QUERY,
    SEGMENT,
    SEGMENT_CHANGE,
    SEGMENT_LIST,
    SEGMENT_PAGE,
    SEGMENT_THEN,
    STORED_PLAN,
)
from segsvc.api.users.schemas import AS_OF
from segsvc.auth.keys import actor
from segsvc.auth.roles import Role
from segsvc.db import clock
from segsvc.db.conditions import PastEnd, PastPreview, PastStep, StepAfterEnd
from segsvc.db.pool import connection
from segsvc.db.values import rfc3339
from segsvc.http.app_keys import LARGE_READS, POOL
from segsvc.http.problems import PlanChanged, PlanPending, SegmentNotFound, SlugTaken
from segsvc.http.requests import NO_PARAMETERS, read_body, read_query, read_slug, refusal
from segsvc.http.responses import json_response, list_response
from segsvc.http.routes import Routes

ROUTES = Routes("segments", "Named groups of users: create them, set their percentage, delete them")


@ROUTES.post(
    "/segments",
    role=Role.EDITOR,
    body=NEW_SEGMENT,
    example={"slug": "VOICE_MESSAGES", "percent": 10},
    status=201,
    answers=(SEGMENT,),
    problems=(SlugTaken,),
)
async def create_segment(request: web.Request) -> web.Response:
    """Create a segment."""
    new = await read_body(request, NEW_SEGMENT)
    async with connection(request.app[POOL]) as conn, conn.transaction():
        segment = await store.create(conn, **new, actor=actor(request))
    if segment is None:
        raise SlugTaken(f"{new['slug']} is live: delete it first, or take another slug")
    created = store.CountedSegment(**asdict(segment), members=0)
    location = f"{request.path}/{segment.slug}"
    return json_response(SEGMENT, created, status=201, headers={"Location": location})


@ROUTES.get("/segments", role=Role.EDITOR, query=SEGMENT_PAGE, answers=(SEGMENT_LIST,))
async def list_segments(request: web.Request) -> web.Response:
    """List a page of live segments in the order of their slugs."""
    page = read_query(request, SEGMENT_PAGE)
    limit = page["limit"]
    async with connection(request.app[POOL]) as conn:
        segments = await store.list_live(conn, page["after"], limit + 1)
    following = segments[limit - 1].slug if len(segments) > limit else None
    answer = {"segments": segments[:limit], "next": following}
    return await list_response(SEGMENT_LIST, answer, len(segments))


@ROUTES.get(
    "/segments/{slug}",
    role=Role.EDITOR,
    query=AS_OF,
    answers=(SEGMENT_THEN,),
    problems=(SegmentNotFound,),
)
async def get_segment(request: web.Request) -> web.Response:
    """Describe a segment, now or as of any time."""
    slug = read_slug(request)
    at = read_query(request, AS_OF)["at"]
    async with connection(request.app[POOL]) as conn:
        segment = await store.get(conn, slug, at)
        marked = await clock.preview_mark(conn, at)
    return json_response(SEGMENT_THEN, asdict(segment) | marked)


@ROUTES.patch(
    "/segments/{slug}",
    role=Role.EDITOR,
    body=SEGMENT_CHANGE,
    example={"percent": 50},
    answers=(SEGMENT,),
    problems=(SegmentNotFound, PlanPending),
)
async def change_segment(request: web.Request) -> web.Response:
    """Change the description, the percentage (null: manual) or the planned end (null: none)."""
    slug = _slug(request)
    changes = await read_body(request, SEGMENT_CHANGE)
    async with connection(request.app[POOL]) as conn:
        try:
            async with conn.transaction():
                await store.change(conn, slug, changes, actor(request))
        except PastEnd:
            raise refusal("is not in the future", ("ends_at",)) from None
        except StepAfterEnd as error:
            detail = f"is not after the last step of the plan: one is at {rfc3339(error.at)}"
            raise refusal(detail, ("ends_at",)) from None
        changes.pop("plan", None)
        # Counting the members of a large segment takes time, so it is done after the locks are
        # gone. What another request changed since then is not part of this answer.
        segment = replace(await store.get(conn, slug), **changes)
    return json_response(SEGMENT, segment)


@ROUTES.delete("/segments/{slug}", role=Role.EDITOR, status=204, problems=(SegmentNotFound,))
async def delete_segment(request: web.Request) -> web.Response:
    """Delete a segment; all users leave it at once."""
    slug = _slug(request)
    async with connection(request.app[POOL]) as conn, conn.transaction():
        await store.delete(conn, slug, actor(request))
    return web.Response(status=204)


@ROUTES.get(
    "/segments/{slug}/plan",
    role=Role.EDITOR,
    answers=(STORED_PLAN,),
    problems=(SegmentNotFound,),
)
async def get_plan(request: web.Request) -> web.Response:
    """Show what is planned for the percentage of a segment, with an entity tag."""
    slug = _slug(request)
    async with connection(request.app[POOL]) as conn:
        return _plan_response(await store.get_plan(conn, slug))


@ROUTES.put(
    "/segments/{slug}/plan",
    role=Role.EDITOR,
    body=PLAN,
    example={
        "steps": [
            {"at": "2098-12-01T09:00:00+03:00", "percent": 5},
            {"at": "2098-12-02T09:00:00+03:00", "percent": 100},
        ]
    },
    answers=(STORED_PLAN,),
    problems=(SegmentNotFound, PlanChanged),
)
async def set_plan(request: web.Request) -> web.Response:
    """Replace what is planned for the percentage; with `If-Match`, only the plan that was read."""
    slug = read_slug(request)
    plan = await read_body(request, PLAN)
    return _plan_response(await _set_plan(request, slug, plan["steps"]))


@ROUTES.delete(
    "/segments/{slug}/plan",
    role=Role.EDITOR,
    status=204,
    problems=(SegmentNotFound, PlanChanged),
)
async def cancel_plan(request: web.Request) -> web.Response:
    """Cancel what is planned for the percentage; with `If-Match`, only the plan that was read."""
    await _set_plan(request, _slug(request), [])
    return web.Response(status=204)


@ROUTES.get(
    "/segments/{slug}/preview",
    role=Role.EDITOR,
    query=PREVIEW_QUERY,
    answers=(PREVIEW,),
    problems=(SegmentNotFound,),
)
async def preview_percent(request: web.Request) -> web.Response:
    """Count the known users who would enter and leave with another percentage, now or later."""
    slug = read_slug(request)
    query = read_query(request, PREVIEW_QUERY)
    try:
        async with request.app[LARGE_READS].take(), connection(request.app[POOL]) as conn:
            found = await store.preview(conn, slug, query["percent"], query["at"])
    except PastPreview:
        raise refusal("is in the past", ("at",)) from None
    return json_response(PREVIEW, found)


async def _set_plan(request: web.Request, slug: str, steps: list[Step]) -> store.Plan:
    etags = None if request.if_match is None else {tag.value for tag in request.if_match}
    try:
        async with connection(request.app[POOL]) as conn, conn.transaction():
            return await store.set_plan(conn, slug, steps, etags, actor(request))
    except PastStep:
        raise refusal("is not in the future", ("steps", 0, "at")) from None
    except StepAfterEnd as error:
        place = ("steps", error.index, "at")
        raise refusal("is not before the planned end of the segment", place) from None


def _plan_response(plan: store.Plan) -> web.Response:
    response = json_response(STORED_PLAN, plan)
    response.etag = plan.etag
    return response


def _slug(request: web.Request) -> str:
    read_query(request, NO_PARAMETERS)
    return read_slug(request)
