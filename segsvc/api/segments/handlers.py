"""`/segments`: creating, listing, describing, changing and deleting them."""

from dataclasses import asdict
from typing import Any

from aiohttp import web

from segsvc.api.segments import store
from segsvc.api.segments.answers import SEGMENT, SEGMENT_LIST
from segsvc.api.segments.schemas import NEW_SEGMENT, SEGMENT_CHANGE, SEGMENT_PAGE
from segsvc.auth.keys import actor
from segsvc.db.pool import connection
from segsvc.http.app_keys import POOL
from segsvc.http.problems import SegmentNotFound, SlugTaken
from segsvc.http.requests import NO_PARAMETERS, read_body, read_query, read_slug
from segsvc.http.responses import json_response, rfc3339
from segsvc.http.routes import Operation, operation


@operation(
    Operation(
        body=NEW_SEGMENT,
        example={"slug": "VOICE_MESSAGES", "percent": 10},
        status=201,
        answers=(SEGMENT,),
        problems=(SlugTaken,),
    )
)
async def create_segment(request: web.Request) -> web.Response:
    """`POST /segments`: creates a segment."""
    new = await read_body(request, NEW_SEGMENT)
    async with connection(request.app[POOL]) as conn:
        segment = await store.create(conn, **new, actor=actor(request))
    if segment is None:
        raise SlugTaken(f"{new['slug']} is live: delete it first, or take another slug")
    location = f"{request.path}/{segment.slug}"
    return json_response(
        _document(segment) | {"members": 0}, status=201, headers={"Location": location}
    )


@operation(Operation(query=SEGMENT_PAGE, answers=(SEGMENT_LIST,)))
async def list_segments(request: web.Request) -> web.Response:
    """`GET /segments`: a page of live segments in the order of their slugs."""
    page = read_query(request, SEGMENT_PAGE)
    limit = page["limit"]
    async with connection(request.app[POOL]) as conn:
        segments = await store.list_live(conn, page["after"], limit + 1)
    documents = [_document(segment) for segment in segments[:limit]]
    following = documents[-1]["slug"] if len(segments) > limit else None
    return json_response({"segments": documents, "next": following})


@operation(Operation(answers=(SEGMENT,), problems=(SegmentNotFound,)))
async def get_segment(request: web.Request) -> web.Response:
    """`GET /segments/{slug}`: describes a segment."""
    slug = _slug(request)
    async with connection(request.app[POOL]) as conn:
        segment = await store.get(conn, slug)
    if segment is None:
        raise SegmentNotFound(slug)
    return json_response(_document(segment))


@operation(
    Operation(
        body=SEGMENT_CHANGE,
        example={"percent": 50},
        answers=(SEGMENT,),
        problems=(SegmentNotFound,),
    )
)
async def change_segment(request: web.Request) -> web.Response:
    """`PATCH /segments/{slug}`: changes a description or a percentage; null makes it manual."""
    slug = _slug(request)
    wish = await read_body(request, SEGMENT_CHANGE)
    async with connection(request.app[POOL]) as conn:
        segment = await store.change(conn, slug, wish, actor(request))
    if segment is None:
        raise SegmentNotFound(slug)
    return json_response(_document(segment))


@operation(Operation(status=204, problems=(SegmentNotFound,)))
async def delete_segment(request: web.Request) -> web.Response:
    """`DELETE /segments/{slug}`: deletes a segment; everyone is out of it at once."""
    slug = _slug(request)
    async with connection(request.app[POOL]) as conn:
        deleted = await store.delete(conn, slug, actor(request))
    if not deleted:
        raise SegmentNotFound(slug)
    return web.Response(status=204)


def _slug(request: web.Request) -> str:
    read_query(request, NO_PARAMETERS)
    return read_slug(request)


def _document(segment: store.Segment) -> dict[str, Any]:
    return asdict(segment) | {
        "percent": None if segment.percent is None else float(segment.percent),
        "created_at": rfc3339(segment.created_at),
    }
