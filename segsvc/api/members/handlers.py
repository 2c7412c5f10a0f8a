"""Members of a segment: add, remove and replace many, list them in pages or export them as CSV."""

from typing import Any

from aiohttp import web
from marshmallow import Schema

from segsvc.api.events.feed import FEED
from segsvc.api.events.schemas import after_header
from segsvc.api.members import changes, store
from segsvc.api.members.schemas import (
    ADDITION_QUERY,
    CHANGED_MEMBERS,
    MEMBER_LIST,
    MEMBER_PAGE,
    MEMBERS_CSV,
    MEMBERS_THEN,
    REMOVAL_QUERY,
    REPLACED_MEMBERS,
    REPLACEMENT_QUERY,
    USER_IDS_FILE,
)
from segsvc.api.members.sets import USER_SET
from segsvc.api.members.store import Operation
from segsvc.api.segments import store as segments
from segsvc.auth.keys import actor
from segsvc.auth.roles import Role
from segsvc.db import clock
from segsvc.db.pool import connection
from segsvc.http import body_stream, problems
from segsvc.http.app_keys import EXPORTS, LIMITS, POOL
from segsvc.http.problems import (
    Busy,
    InvalidLines,
    NobodyListed,
    SegmentNotFound,
    UnknownSegments,
    UnsupportedMediaType,
)
from segsvc.http.requests import load_body, read_query, read_slug
from segsvc.http.responses import json_response, list_response
from segsvc.http.routes import Routes
from segsvc.http.streams import accepts, stream_csv

# A file says itself whether it is in UTF-16.
CHARSETS = {"utf-8", "utf8", "us-ascii", "utf-16"}

ROUTES = Routes("members", "All users of a segment: import files of a million, list and export")


EXAMPLE = {"from": {"any_of": ["VOICE_MESSAGES"], "none_of": ["DISCOUNT_30", "DISCOUNT_50"]}}


@ROUTES.post(
    "/segments/{slug}/members/add",
    role=Role.EDITOR,
    query=ADDITION_QUERY,
    bodies=(USER_IDS_FILE, USER_SET),
    example=EXAMPLE,
    answers=(CHANGED_MEMBERS,),
    problems=(
        SegmentNotFound,
        problems.ElsewhereInLayer,
        problems.WrongFormat,
        InvalidLines,
        UnknownSegments,
        Busy,
    ),
)
async def add_members(request: web.Request) -> web.Response:
    """Add the users of a file, or of other segments: all of them or none."""
    wanted = _read(request, Operation.ADD, ADDITION_QUERY)
    return json_response(CHANGED_MEMBERS, await _change(request, wanted))


@ROUTES.post(
    "/segments/{slug}/members/remove",
    role=Role.EDITOR,
    query=REMOVAL_QUERY,
    bodies=(USER_IDS_FILE, USER_SET),
    example=EXAMPLE,
    answers=(CHANGED_MEMBERS,),
    problems=(SegmentNotFound, problems.WrongFormat, InvalidLines, UnknownSegments, Busy),
)
async def remove_members(request: web.Request) -> web.Response:
    """Remove the users of a file, or of other segments: all of them or none."""
    wanted = _read(request, Operation.REMOVE, REMOVAL_QUERY)
    return json_response(CHANGED_MEMBERS, await _change(request, wanted))


@ROUTES.put(
    "/segments/{slug}/members",
    role=Role.EDITOR,
    query=REPLACEMENT_QUERY,
    bodies=(USER_IDS_FILE, USER_SET),
    example=EXAMPLE,
    answers=(REPLACED_MEMBERS,),
    problems=(
        SegmentNotFound,
        problems.ElsewhereInLayer,
        problems.WrongFormat,
        InvalidLines,
        NobodyListed,
        UnknownSegments,
        Busy,
    ),
)
async def replace_members(request: web.Request) -> web.Response:
    """Make the users of a file, or of other segments, the members: add them, remove the others."""
    wanted = _read(request, Operation.REPLACE, REPLACEMENT_QUERY)
    return json_response(REPLACED_MEMBERS, await _change(request, wanted))


@ROUTES.get(
    "/segments/{slug}/members",
    role=Role.FOLLOWER,
    query=MEMBER_PAGE,
    answers=(MEMBER_LIST, MEMBERS_CSV),
    problems=(SegmentNotFound, Busy),
)
async def list_members(request: web.Request) -> web.StreamResponse:
    """List a page of members as JSON, or export all of them as CSV, now or as of any time."""
    slug = read_slug(request)
    if accepts(request, "Accept", "text/csv"):
        return await export(request, slug)
    page = read_query(request, MEMBER_PAGE)
    limit, at = page["limit"], page["at"]
    events_after = await request.app[FEED].position(at)
    async with connection(request.app[POOL]) as conn:
        listed = store.Listed(await segments.find(conn, slug, at), at, page["source"])
        members = await store.list_page(conn, listed, page["after"], limit + 1)
        marked = await clock.preview_mark(conn, at)
    following = members[limit - 1].user_id if len(members) > limit else None
    listed_page = {"members": members[:limit], "next": following, "events_after": events_after}
    answer = listed_page | marked
    return await list_response(MEMBER_LIST, answer, len(members), {"Vary": "Accept"})


async def export(request: web.Request, slug: str) -> web.StreamResponse:
    """Answer with all members of a segment as CSV, as of the time in the query, or now."""
    asked = read_query(request, MEMBERS_THEN)
    headers = after_header(await request.app[FEED].position(asked["at"]))
    async with request.app[EXPORTS].open() as conn:
        listed = store.Listed(await segments.find(conn, slug, asked["at"]), **asked)
        return await stream_csv(
            request, conn, f"{slug}.csv", lambda sink: store.copy(conn, listed, sink), headers
        )


def _read(request: web.Request, operation: Operation, query: Schema) -> store.Change:
    """Return the change that the path and the query ask for."""
    options = read_query(request, query)
    return store.Change(read_slug(request), operation, **options, actor=actor(request))


async def _change(request: web.Request, wanted: store.Change) -> dict[str, Any]:
    """Change a segment for the users of a file or a set; return the counts."""
    counts: dict[str, Any]
    if request.content_type == "application/json":
        counts = await changes.change_set(request, wanted, await load_body(request, USER_SET))
    else:
        charset = (request.charset or "utf-8").lower()
        if request.content_type != "text/csv" or charset not in CHARSETS:
            raise UnsupportedMediaType(
                "send user ids, one a line, with Content-Type: text/csv, or a set of users as JSON"
            )
        most = request.app[LIMITS].import_bytes
        pieces = body_stream.pieces(request, most, body_stream.FILE_SECONDS)
        counts = await changes.change_listed(request, wanted, pieces)
    return counts | ({"dry_run": True} if wanted.dry_run else {})
