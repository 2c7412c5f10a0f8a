"""Segments: create, list, read, change and delete them."""

from dataclasses import asdict
from typing import Any

from aiohttp import web

from segsvc.api.segments import changes, stats, store
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
    STATS,
    STATS_QUERY,
    STORED_PLAN,
)
from segsvc.api.users.schemas import AS_OF
from segsvc.auth.roles import Role
from segsvc.db import clock
from segsvc.db.pool import connection
from segsvc.http.app_keys import EXPORTS, LARGE_READS, POOL
from segsvc.http.problems import (
    Busy,
    PlanChanged,
    PlanPending,
    SegmentNotFound,
    SlugTaken,
    UnknownSegments,
)
from segsvc.http.requests import NO_PARAMETERS, read_body, read_query, read_slug, refusal
from segsvc.http.responses import json_response, list_response
from segsvc.http.routes import Routes

ROUTES = Routes("segments", "Named groups of users: create them, set their percentage, delete them")


@ROUTES.post(
    "/segments",
    role=Role.EDITOR,
    bodies=(NEW_SEGMENT,),
    example={"slug": "VOICE_MESSAGES", "percent": 10},
    status=201,
    answers=(SEGMENT,),
    problems=(SlugTaken, UnknownSegments, Busy),
)
async def create_segment(request: web.Request) -> web.Response:
    """Create a segment, without members or with those of other segments."""
    segment = await changes.create(request, await read_body(request, NEW_SEGMENT))
    location = f"{request.path}/{segment.slug}"
    return json_response(SEGMENT, segment, status=201, headers={"Location": location})


@ROUTES.get("/segments", role=Role.EDITOR, query=SEGMENT_PAGE, answers=(SEGMENT_LIST,))
async def list_segments(request: web.Request) -> web.Response:
    """List a page of live segments by slug, or the newest or largest first; search them."""
    page = read_query(request, SEGMENT_PAGE)
    limit, after, q, sort = page["limit"], page["after"], page["q"], page["sort"]
    found: list[tuple[tuple[int | None, str], dict[str, Any]]]
    if sort is store.Sort.SLUG:
        async with connection(request.app[POOL]) as conn:
            listed = await store.list_live(conn, after[1] if after else "", limit + 1, q)
        found = [((None, each.slug), vars(each)) for each in listed]
    else:
        async with request.app[LARGE_READS].take(), connection(request.app[POOL]) as conn:
            ranked = await store.list_sorted(conn, sort, after, limit + 1, q)
        found = [((each.rank, each.slug), _shown(each)) for each in ranked]
    following = found[limit - 1][0] if len(found) > limit else None
    answer = {"segments": [segment for _, segment in found[:limit]], "next": following}
    return await list_response(SEGMENT_LIST, answer, len(found))


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
    bodies=(SEGMENT_CHANGE,),
    example={"percent": 50},
    answers=(SEGMENT,),
    problems=(SegmentNotFound, PlanPending),
)
async def change_segment(request: web.Request) -> web.Response:
    """Change the description, the percentage (null: manual) or the planned end (null: none)."""
    slug = _slug(request)
    segment = await changes.change(request, slug, await read_body(request, SEGMENT_CHANGE))
    return json_response(SEGMENT, segment)


@ROUTES.delete("/segments/{slug}", role=Role.EDITOR, status=204, problems=(SegmentNotFound,))
async def delete_segment(request: web.Request) -> web.Response:
    """Delete a segment; all users leave it at once."""
    await changes.delete(request, _slug(request))
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
    bodies=(PLAN,),
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
    return _plan_response(await changes.set_plan(request, slug, plan["steps"], _etags(request)))


@ROUTES.delete(
    "/segments/{slug}/plan",
    role=Role.EDITOR,
    status=204,
    problems=(SegmentNotFound, PlanChanged),
)
async def cancel_plan(request: web.Request) -> web.Response:
    """Cancel what is planned for the percentage; with `If-Match`, only the plan that was read."""
    await changes.set_plan(request, _slug(request), [], _etags(request))
    return web.Response(status=204)


@ROUTES.get(
    "/segments/{slug}/stats",
    role=Role.EDITOR,
    query=STATS_QUERY,
    answers=(STATS,),
    problems=(SegmentNotFound, Busy),
)
async def list_stats(request: web.Request) -> web.Response:
    """Count who was in a segment at the end of each hour, day or week, who joined and who left."""
    slug = read_slug(request)
    query = read_query(request, STATS_QUERY)
    try:
        async with request.app[EXPORTS].open() as conn:
            found = await stats.list_stats(conn, slug, **query)
    except stats.WrongStart as error:
        raise refusal(error.detail, ("from",)) from None
    return await list_response(STATS, {"stats": found}, len(found))


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
    found = await changes.preview(request, slug, query["percent"], query["at"])
    return json_response(PREVIEW, found)


def _shown(segment: store.RankedSegment) -> dict[str, Any]:
    """Return a segment for a list: without members if it is not sorted by them."""
    shown = vars(segment)
    return shown if segment.members is not None else {n: shown[n] for n in shown if n != "members"}


def _etags(request: web.Request) -> set[str] | None:
    """Return the entity tags that `If-Match` allows, None without it."""
    return None if request.if_match is None else {tag.value for tag in request.if_match}


def _plan_response(plan: store.Plan) -> web.Response:
    response = json_response(STORED_PLAN, plan)
    response.etag = plan.etag
    return response


def _slug(request: web.Request) -> str:
    read_query(request, NO_PARAMETERS)
    return read_slug(request)
