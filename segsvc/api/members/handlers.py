"""Members of a segment: import them from a file, list them in pages or export them as CSV."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

from segsvc.api.members import store
from segsvc.api.members.schemas import (
    ADDITION_QUERY,
    IMPORTED,
    MEMBER_LIST,
    MEMBER_PAGE,
    MEMBERS_CSV,
    USER_IDS_FILE,
)
from segsvc.api.members.user_id_file import BadLines, TooManyLines, UserIdFile, WrongFormat
from segsvc.api.segments import store as segments
from segsvc.api.users.schemas import AS_OF
from segsvc.auth.keys import actor, identify_again
from segsvc.auth.roles import Role
from segsvc.db import clock
from segsvc.db.conditions import ElsewhereInLayer, PastExpiry, PastStart, StartAfterEnd
from segsvc.db.pool import Connection, connection
from segsvc.http import body_stream, problems
from segsvc.http.app_keys import EXPORTS, IMPORTS, LIMITS, POOL
from segsvc.http.csv_stream import accepts, stream_csv
from segsvc.http.problems import (
    Busy,
    InvalidLines,
    SegmentNotFound,
    TooLarge,
    UnsupportedMediaType,
)
from segsvc.http.requests import NO_PARAMETERS, read_query, read_slug, refusal
from segsvc.http.responses import json_response, list_response
from segsvc.http.routes import Routes

# A file says itself whether it is in UTF-16.
CHARSETS = {"utf-8", "utf8", "us-ascii", "utf-16"}

# Seconds that a client has to send a file.
IMPORT_SECONDS = 3600

ROUTES = Routes("members", "All users of a segment: import files of a million, list and export")


@ROUTES.post(
    "/segments/{slug}/members/add",
    role=Role.EDITOR,
    query=ADDITION_QUERY,
    body=USER_IDS_FILE,
    answers=(IMPORTED,),
    problems=(
        SegmentNotFound,
        problems.ElsewhereInLayer,
        problems.WrongFormat,
        InvalidLines,
        Busy,
    ),
)
async def add_members(request: web.Request) -> web.Response:
    """Add the users of a file: all of them or none."""
    query = read_query(request, ADDITION_QUERY)
    by = actor(request)

    async def add(conn: Connection, slug: str) -> store.Imported:
        return await store.add(conn, slug, query.term, query.on_conflict, by)

    return await _import(request, add, skips=query.on_conflict == store.SKIP)


@ROUTES.post(
    "/segments/{slug}/members/remove",
    role=Role.EDITOR,
    body=USER_IDS_FILE,
    answers=(IMPORTED,),
    problems=(SegmentNotFound, problems.WrongFormat, InvalidLines, Busy),
)
async def remove_members(request: web.Request) -> web.Response:
    """Remove the users of a file: all of them or none."""
    read_query(request, NO_PARAMETERS)
    by = actor(request)
    return await _import(request, lambda conn, slug: store.remove(conn, slug, by))


@ROUTES.get(
    "/segments/{slug}/members",
    role=Role.EDITOR,
    query=MEMBER_PAGE,
    answers=(MEMBER_LIST, MEMBERS_CSV),
    problems=(SegmentNotFound, Busy),
)
async def list_members(request: web.Request) -> web.StreamResponse:
    """List a page of members as JSON, or export all of them as CSV, now or as of any time."""
    slug = read_slug(request)
    if accepts(request, "Accept", "text/csv"):
        at = read_query(request, AS_OF)["at"]
        async with request.app[EXPORTS].open() as conn:
            segment_id = await segments.find(conn, slug, at)
            return await stream_csv(
                request, conn, f"{slug}.csv", lambda sink: store.copy(conn, segment_id, at, sink)
            )
    page = read_query(request, MEMBER_PAGE)
    limit, at = page["limit"], page["at"]
    async with connection(request.app[POOL]) as conn:
        segment_id = await segments.find(conn, slug, at)
        members = await store.list_page(conn, segment_id, page["after"], limit + 1, at)
        marked = await clock.preview_mark(conn, at)
    following = members[limit - 1].user_id if len(members) > limit else None
    answer = {"members": members[:limit], "next": following} | marked
    return await list_response(MEMBER_LIST, answer, len(members), {"Vary": "Accept"})


async def _import(
    request: web.Request,
    change: Callable[[Connection, str], Awaitable[store.Imported]],
    *,
    skips: bool = False,
) -> web.Response:
    """Add or remove the users of the file in the body, with `change`.

    The file is received before any lock is taken, because that may take long. The change is one
    transaction. What can be refused without the file is refused before it is sent.
    """
    slug = read_slug(request)
    charset = (request.charset or "utf-8").lower()
    if request.content_type != "text/csv" or charset not in CHARSETS:
        raise UnsupportedMediaType("send user ids, one a line, with Content-Type: text/csv")
    limits = request.app[LIMITS]
    received = body_stream.pieces(request, limits.import_bytes, IMPORT_SECONDS)
    file = UserIdFile(received, limits.import_lines, limits.import_bytes)
    async with request.app[IMPORTS].open() as conn:
        await segments.find(conn, slug)
        with _refusals(file):
            await store.receive(conn, file)
            await identify_again(request)
            async with conn.transaction():
                done = await change(conn, slug)
    unchanged = file.received - done.changed - done.skipped
    counts = {"received": file.received, "changed": done.changed, "unchanged": unchanged}
    return json_response(IMPORTED, counts | ({"skipped": done.skipped} if skips else {}))


@contextmanager
def _refusals(file: UserIdFile) -> Iterator[None]:
    """Turn what the import of a file refuses into problems."""
    try:
        yield
    except WrongFormat as error:
        raise problems.WrongFormat(f"{error}; nothing was changed") from None
    except BadLines as error:
        raise InvalidLines(error.lines, more=error.more) from None
    except TooManyLines as error:
        raise TooLarge(f"the operator's limit is {error.limit} user ids in one file") from None
    except ElsewhereInLayer as error:
        errors = [
            {
                "pointer": f"#row={file.line_of(found.place)}",
                "detail": problems.elsewhere(found.user_id, found.elsewhere, found.ends_at),
            }
            for found in error.conflicts
        ]
        raise problems.ElsewhereInLayer(errors, store.CHOICES) from None
    except (PastStart, StartAfterEnd) as error:
        raise refusal(error.detail, ("starts_at",)) from None
    except PastExpiry as error:
        raise refusal(error.detail, ("expires_at",)) from None
