"""`/segments/{slug}/members`: whole audiences, in from a file, out in pages or as CSV."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from aiohttp import web

from segsvc.api.members import store
from segsvc.api.members.answers import IMPORTED, MEMBER_LIST, MEMBERS_CSV, MEMBERS_FILE
from segsvc.api.members.schemas import MEMBER_PAGE, UNTIL
from segsvc.api.members.user_id_file import BadLines, TooManyLines, UserIds
from segsvc.api.segments import store as segments
from segsvc.auth.keys import actor
from segsvc.db.pool import Connection, connection
from segsvc.http import body_stream as bodies
from segsvc.http.app_keys import EXPORTS, IMPORTS, LIMITS, POOL
from segsvc.http.csv_stream import offers, stream_csv
from segsvc.http.problems import (
    Busy,
    InvalidLines,
    InvalidRequest,
    SegmentNotFound,
    TooLarge,
    UnsupportedMediaType,
)
from segsvc.http.requests import NO_PARAMETERS, pointer, read_query, read_slug
from segsvc.http.responses import json_response
from segsvc.http.routes import Operation, operation


@operation(
    Operation(
        query=UNTIL,
        body=MEMBERS_FILE,
        answers=(IMPORTED,),
        problems=(SegmentNotFound, InvalidLines, Busy),
    )
)
async def add_members(request: web.Request) -> web.Response:
    """`POST /segments/{slug}/members/add`: puts in the users of a file, all or none."""
    expiry = read_query(request, UNTIL)
    return await _change(request, store.Wish(included=True, expiry=expiry, actor=actor(request)))


@operation(
    Operation(
        body=MEMBERS_FILE,
        answers=(IMPORTED,),
        problems=(SegmentNotFound, InvalidLines, Busy),
    )
)
async def remove_members(request: web.Request) -> web.Response:
    """`POST /segments/{slug}/members/remove`: takes out the users of a file, all or none."""
    read_query(request, NO_PARAMETERS)
    return await _change(request, store.Wish(included=False, actor=actor(request)))


@operation(
    Operation(
        query=MEMBER_PAGE,
        answers=(MEMBER_LIST, MEMBERS_CSV),
        problems=(SegmentNotFound, Busy),
    )
)
async def list_members(request: web.Request) -> web.StreamResponse:
    """`GET /segments/{slug}/members`: a page as JSON, or all of them as CSV."""
    slug = read_slug(request)
    if offers(request, "Accept", "text/csv"):
        read_query(request, NO_PARAMETERS)
        async with request.app[EXPORTS].open() as conn:
            segment_id = await _find(conn, slug)
            return await stream_csv(
                request, conn, f"{slug}.csv", lambda sink: store.copy(conn, segment_id, sink)
            )
    page = read_query(request, MEMBER_PAGE)
    limit = page["limit"]
    async with connection(request.app[POOL]) as conn:
        members = await store.list_page(conn, await _find(conn, slug), page["after"], limit + 1)
    following = members[limit - 1].user_id if len(members) > limit else None
    return json_response(
        {"members": [asdict(member) for member in members[:limit]], "next": following},
        headers={"Vary": "Accept"},
    )


async def _change(request: web.Request, wish: store.Wish) -> web.Response:
    """Change the members whose ids the body holds; what can be refused is, before it is sent."""
    slug = read_slug(request)
    charset = (request.charset or "utf-8").lower()
    if request.content_type != "text/csv" or charset not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaType("send user ids, one a line, with Content-Type: text/csv")
    user_ids = UserIds(bodies.pieces(request), request.app[LIMITS].import_lines)
    async with request.app[IMPORTS].open() as conn:
        await _find(conn, slug)
        with _refusals(slug):
            imported = await store.change(conn, slug, user_ids, wish)
    return json_response(asdict(imported))


async def _find(conn: Connection, slug: str) -> int:
    segment_id = await segments.find(conn, slug)
    if segment_id is None:
        raise SegmentNotFound(slug)
    return segment_id


@contextmanager
def _refusals(slug: str) -> Iterator[None]:
    """Turn what the store refuses into problems."""
    try:
        yield
    except BadLines as error:
        raise InvalidLines(error.lines, more=error.more) from None
    except TooManyLines as error:
        raise TooLarge(f"the operator's limit is {error.limit} user ids in one file") from None
    except store.SegmentGone:
        raise SegmentNotFound(slug) from None
    except store.PastExpiry:
        detail = "is not in the future"
        raise InvalidRequest([{"pointer": pointer("expires_at"), "detail": detail}]) from None
