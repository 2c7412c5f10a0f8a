"""`/users`: changing, reading and explaining the segments of users."""

from dataclasses import asdict
from typing import Any

from aiohttp import web

from segsvc.api.users import store
from segsvc.api.users.answers import (
    CHANGED_USER,
    HISTORY,
    MEMBERSHIPS,
    USER_SEGMENTS,
    USERS_SEGMENTS,
)
from segsvc.api.users.reads import READS
from segsvc.api.users.schemas import EVENT_PAGE, MOMENT, USER_CHANGE, USER_LIST
from segsvc.auth.keys import actor
from segsvc.db.pool import connection
from segsvc.http.app_keys import POOL
from segsvc.http.fields import decimal_user_id
from segsvc.http.problems import InvalidRequest, UnknownSegments
from segsvc.http.requests import NO_PARAMETERS, pointer, read_body, read_path, read_query
from segsvc.http.responses import json_response, rfc3339
from segsvc.http.routes import Operation, operation


@operation(
    Operation(
        body=USER_CHANGE,
        example={
            "add": ["VOICE_MESSAGES", {"slug": "DISCOUNT_50", "ttl": 172800}],
            "remove": ["DISCOUNT_30"],
        },
        answers=(CHANGED_USER,),
        problems=(UnknownSegments,),
    )
)
async def change_user(request: web.Request) -> web.Response:
    """`POST /users/{user_id}/segments`: puts a user into segments and out of others, or neither."""
    user_id = _user_id(request)
    wish = await read_body(request, USER_CHANGE)
    add = {addition.slug: addition.expiry for addition in wish.add}
    async with connection(request.app[POOL]) as conn:
        try:
            changed = await store.change(conn, user_id, add, wish.remove, actor(request))
        except store.UnknownSlugs as error:
            listed = [("add", i, addition.slug) for i, addition in enumerate(wish.add)]
            listed += [("remove", i, slug) for i, slug in enumerate(wish.remove)]
            raise UnknownSegments(
                [
                    {"pointer": pointer(name, i), "detail": f"no live segment has the slug {slug}"}
                    for name, i, slug in listed
                    if slug in error.slugs
                ]
            ) from None
        except store.PastExpiry as error:
            places = {a.place: None for a in wish.add if a.slug in error.slugs}
            raise InvalidRequest(
                [{"pointer": pointer(*place), "detail": "is not in the future"} for place in places]
            ) from None
    # Read with the others, after the commit: that spares the transaction a round trip.
    segments = await request.app[READS].list_now(user_id)
    return json_response({"user_id": user_id} | asdict(changed) | {"segments": segments})


@operation(Operation(query=MOMENT, answers=(USER_SEGMENTS,)))
async def list_user_segments(request: web.Request) -> web.Response:
    """`GET /users/{user_id}/segments`: the segments that a user is in, now or as of any time."""
    user_id = _user_id(request)
    if not request.query_string:
        segments = await request.app[READS].list_now(user_id)
        # As json_response would, in a tenth of its time: slugs have nothing to escape.
        slugs = ", ".join([f'"{slug}"' for slug in segments])
        body = f'{{"user_id": {user_id}, "segments": [{slugs}]}}\n'.encode()
        return web.Response(body=body, content_type="application/json")
    at = read_query(request, MOMENT)["at"]
    async with connection(request.app[POOL]) as conn:
        (segments,) = await store.list_at(conn, [user_id], at)
    return json_response({"user_id": user_id, "segments": segments})


@operation(
    Operation(
        body=USER_LIST,
        example={"user_ids": [1000, 1015, 1004]},
        answers=(USERS_SEGMENTS,),
    )
)
async def list_segments_of_users(request: web.Request) -> web.Response:
    """`POST /users/segments`: reads many users at once, in the order asked."""
    user_ids = (await read_body(request, USER_LIST))["user_ids"]
    async with connection(request.app[POOL]) as conn:
        segments = await store.list_at(conn, user_ids)
    users = [
        {"user_id": user_id, "segments": slugs}
        for user_id, slugs in zip(user_ids, segments, strict=True)
    ]
    return json_response({"users": users})


@operation(Operation(answers=(MEMBERSHIPS,)))
async def explain_user(request: web.Request) -> web.Response:
    """`GET /users/{user_id}/memberships`: why the user is in segments or kept out of them."""
    user_id = _user_id(request)
    read_query(request, NO_PARAMETERS)
    async with connection(request.app[POOL]) as conn:
        reasons = await store.explain(conn, user_id)
    return json_response({"user_id": user_id, "memberships": [_document(r) for r in reasons]})


@operation(Operation(query=EVENT_PAGE, answers=(HISTORY,)))
async def list_user_events(request: web.Request) -> web.Response:
    """`GET /users/{user_id}/history`: a page of what happened to the user, and why."""
    user_id = _user_id(request)
    page = read_query(request, EVENT_PAGE)
    between, limit = (page["start"], page["end"]), page["limit"]
    async with connection(request.app[POOL]) as conn:
        events = await store.list_events(conn, user_id, between, page["after"], limit + 1)
    documents = [asdict(event) | {"at": rfc3339(event.at)} for event in events[:limit]]
    last = documents[-1] if len(events) > limit else None
    following = f"{last['at']},{last['slug']}" if last else None
    return json_response({"user_id": user_id, "events": documents, "next": following})


def _user_id(request: web.Request) -> int:
    return read_path(request, "user_id", decimal_user_id)


def _document(reason: store.Reason) -> dict[str, Any]:
    return {
        "slug": reason.slug,
        "state": "included" if reason.included else "excluded",
        "source": "manual" if reason.by_hand else "rollout",
        "since": rfc3339(reason.since),
        "expires_at": rfc3339(reason.expires_at) if reason.expires_at else None,
        "percent": None if reason.percent is None else float(reason.percent),
        "point": None if reason.point is None else _percentage(reason.point),
        "actor": reason.actor,
    }


def _percentage(point: int) -> float:
    """Return a point of 2^32 as a percentage.

    Cut off after six decimals, not rounded: it stays below every percentage that admits it.
    """
    return (point * 10**8 >> 32) / 10**6
