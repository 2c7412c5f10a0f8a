"""`/users/{user_id}/segments`: changing and reading the segments of a user."""

from dataclasses import asdict

from aiohttp import web

from segsvc.answers import json_response
from segsvc.database import POOL, connection
from segsvc.inputs import NO_PARAMETERS, pointer, read_body, read_path, read_query
from segsvc.memberships import store
from segsvc.memberships.schemas import USER_CHANGE, USER_PATH
from segsvc.problems import UnknownSegments


async def change_user(request: web.Request) -> web.Response:
    """`POST /users/{user_id}/segments`."""
    user_id = read_path(request, USER_PATH)["user_id"]
    wish = await read_body(request, USER_CHANGE)
    async with connection(request.app[POOL]) as conn:
        try:
            changed = await store.change(conn, user_id, wish.add, wish.remove)
        except store.UnknownSlugs as error:
            raise UnknownSegments(
                [
                    {"pointer": pointer(name, i), "detail": f"no live segment has the slug {slug}"}
                    for name, slugs in (("add", wish.add), ("remove", wish.remove))
                    for i, slug in enumerate(slugs)
                    if slug in error.slugs
                ]
            ) from None
    return json_response({"user_id": user_id} | asdict(changed))


async def list_user_segments(request: web.Request) -> web.Response:
    """`GET /users/{user_id}/segments`."""
    user_id = read_path(request, USER_PATH)["user_id"]
    read_query(request, NO_PARAMETERS)
    async with connection(request.app[POOL]) as conn:
        (segments,) = await store.list_at(conn, [user_id])
    return json_response({"user_id": user_id, "segments": segments})
