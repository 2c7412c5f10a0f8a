"""Users: change, read and explain their segments."""

from collections.abc import Sequence
from contextlib import suppress

from aiohttp import web

from segsvc.api.audit import store as audit
from segsvc.api.users import reads, store
from segsvc.api.users.erasure import SegmentsMissed, erase
from segsvc.api.users.schemas import (
    AS_OF,
    CHANGED_USER,
    EVENT_PAGE,
    HISTORY,
    MEMBERSHIPS,
    USER_CHANGE,
    USER_LIST,
    USER_SEGMENTS,
    USERS_SEGMENTS,
    UserChange,
)
from segsvc.api.users.writes import WRITES
from segsvc.auth.keys import actor
from segsvc.auth.roles import Role
from segsvc.db import clock
from segsvc.db.conditions import (
    Conflict,
    ElsewhereInLayer,
    PastExpiry,
    PastStart,
    SameLayer,
    SegmentsNotLive,
    StartAfterEnd,
)
from segsvc.db.pool import connection
from segsvc.http import problems
from segsvc.http.app_keys import LARGE_READS, POOL
from segsvc.http.requests import (
    NO_PARAMETERS,
    author,
    pointer,
    quota_of,
    read_body,
    read_query,
    read_user_id,
    refusal,
)
from segsvc.http.responses import json_response, list_response
from segsvc.http.routes import Routes

ROUTES = Routes("users", "The segments of a user: change them, read them, explain them")


@ROUTES.get("/users/{user_id}/segments", role=Role.READER, query=AS_OF, answers=(USER_SEGMENTS,))
async def list_user_segments(request: web.Request) -> web.Response:
    """List the segments that a user is in, now or as of any time."""
    user_id = read_user_id(request)
    if not request.query_string:
        segments = await request.app[reads.READS].list_now(user_id, quota_of(request))
        # The hot path: the same bytes as json_response, in a tenth of the time. Slugs need no
        # escaping.
        slugs = ", ".join([f'"{slug}"' for slug in segments])
        body = f'{{"user_id": {user_id}, "segments": [{slugs}]}}\n'.encode()
        return web.Response(body=body, content_type="application/json")
    at = read_query(request, AS_OF)["at"]
    async with connection(request.app[POOL]) as conn:
        (segments,) = await reads.list_at(conn, [user_id], at, quota_of(request))
        marked = await clock.preview_mark(conn, at)
    return json_response(USER_SEGMENTS, {"user_id": user_id, "segments": segments} | marked)


@ROUTES.post(
    "/users/{user_id}/segments",
    role=Role.EDITOR,
    bodies=(USER_CHANGE,),
    example={
        "add": ["VOICE_MESSAGES", {"slug": "DISCOUNT_50", "ttl": 172800}],
        "remove": ["DISCOUNT_30"],
    },
    answers=(CHANGED_USER,),
    problems=(problems.UnknownSegments, problems.ElsewhereInLayer),
)
async def change_user(request: web.Request) -> web.Response:
    """Add a user to segments and remove the user from others: all of it or nothing."""
    user_id = read_user_id(request)
    change: UserChange = await read_body(request, USER_CHANGE)
    add = {addition.slug: addition.term for addition in change.add}
    wanted = store.Change(user_id, add, change.remove, change.on_conflict, actor(request))
    try:
        changed = await request.app[WRITES].change(wanted)
    except SegmentsNotLive as error:
        raise _unknown_segments(change, error.slugs) from None
    except ElsewhereInLayer as error:
        raise _elsewhere_in_layer(change, user_id, error.conflicts) from None
    except SameLayer as error:
        slugs = [addition.slug for addition in change.add]
        places = [("add", i) for i, slug in enumerate(slugs) if slug in error.slugs]
        raise refusal(error.detail, *places) from None
    except (PastStart, StartAfterEnd) as error:
        starts = {a.start_place: None for a in change.add if a.slug in error.slugs}
        raise refusal(error.detail, *starts) from None
    except PastExpiry as error:
        ends = {a.end_place: None for a in change.add if a.slug in error.slugs}
        raise refusal(error.detail, *ends) from None
    # Read together with other reads, after the commit.
    segments = await request.app[reads.READS].list_now(user_id, quota_of(request))
    return json_response(
        CHANGED_USER,
        {
            "user_id": user_id,
            "added": changed.added,
            "removed": changed.removed,
            "segments": segments,
        },
    )


@ROUTES.post(
    "/users/segments",
    role=Role.READER,
    bodies=(USER_LIST,),
    example={"user_ids": [1000, 1015, 1004]},
    answers=(USERS_SEGMENTS,),
)
async def list_segments_of_users(request: web.Request) -> web.Response:
    """List the segments of many users, in the order asked, now or as of any time."""
    body = await read_body(request, USER_LIST)
    user_ids, at = body["user_ids"], body["at"]
    async with request.app[LARGE_READS].take(), connection(request.app[POOL]) as conn:
        segments = await reads.list_at(conn, user_ids, at, quota_of(request))
        marked = await clock.preview_mark(conn, at)
    users = [
        {"user_id": user_id, "segments": slugs}
        for user_id, slugs in zip(user_ids, segments, strict=True)
    ]
    length = len(users) + sum(map(len, segments))
    return await list_response(USERS_SEGMENTS, {"users": users} | marked, length)


@ROUTES.get("/users/{user_id}/memberships", role=Role.READER, answers=(MEMBERSHIPS,))
async def explain_user(request: web.Request) -> web.Response:
    """Explain why a user is in segments or excluded from them, and list what is planned."""
    user_id = read_user_id(request)
    read_query(request, NO_PARAMETERS)
    async with connection(request.app[POOL]) as conn:
        await store.make_known(conn, {user_id}, quota_of(request))
        memberships = await store.explain(conn, user_id)
        upcoming = await store.list_upcoming(conn, user_id)
    answer = {"user_id": user_id, "memberships": memberships, "upcoming": upcoming}
    return await list_response(MEMBERSHIPS, answer, len(memberships) + len(upcoming))


@ROUTES.get("/users/{user_id}/history", role=Role.READER, query=EVENT_PAGE, answers=(HISTORY,))
async def list_user_events(request: web.Request) -> web.Response:
    """List a page of the user's events, with their causes."""
    user_id = read_user_id(request)
    page = read_query(request, EVENT_PAGE)
    between, limit = (page["start"], page["end"]), page["limit"]
    async with connection(request.app[POOL]) as conn:
        await store.make_known(conn, {user_id}, quota_of(request))
        events = await store.list_events(conn, user_id, between, page["after"], limit + 1)
    last = events[limit - 1] if len(events) > limit else None
    following = (last.at, last.slug) if last else None
    answer = {"user_id": user_id, "events": events[:limit], "next": following}
    return await list_response(HISTORY, answer, len(events))


@ROUTES.delete("/users/{user_id}", role=Role.EDITOR, status=204)
async def erase_user(request: web.Request) -> web.Response:
    """Erase a user: segments, history and all; the audit log says that one was erased, not who."""
    user_id = read_user_id(request)
    read_query(request, NO_PARAMETERS)
    async with connection(request.app[POOL]) as conn:
        while True:
            with suppress(SegmentsMissed):
                async with conn.transaction():
                    if await erase(conn, user_id):
                        await audit.record(conn, author(request), "user.erase", None, {})
                    break
    return web.Response(status=204)


def _unknown_segments(change: UserChange, slugs: set[str]) -> problems.UnknownSegments:
    """Return the problem that points at each of `slugs` in the request."""
    places = [("add", i, addition.slug) for i, addition in enumerate(change.add)]
    places += [("remove", i, slug) for i, slug in enumerate(change.remove)]
    return problems.UnknownSegments(
        [
            {"pointer": pointer(name, i), "detail": f"no live segment has the slug {slug}"}
            for name, i, slug in places
            if slug in slugs
        ]
    )


def _elsewhere_in_layer(
    change: UserChange, user_id: int, conflicts: Sequence[Conflict]
) -> problems.ElsewhereInLayer:
    """Return the problem that points at each addition which is in the way of another segment."""
    places = {addition.slug: i for i, addition in reversed(list(enumerate(change.add)))}
    return problems.ElsewhereInLayer(
        [
            {
                "pointer": pointer("add", places[conflict.slug]),
                "detail": problems.elsewhere(user_id, conflict.elsewhere, conflict.ends_at),
            }
            for conflict in conflicts
        ],
        store.CHOICES,
    )
