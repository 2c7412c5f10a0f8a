"""The application: its routes, its middleware and its pool."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from segsvc import database, schema
from segsvc.answers import json_response
from segsvc.memberships import handlers as memberships
from segsvc.middlewares import answer_problems
from segsvc.segments import handlers as segments

BASE = "/api/v1"

# Bytes of a JSON body: twice a thousand of the longest slugs, and room to spare.
MAX_BODY = 256 * 1024


async def healthz(request: web.Request) -> web.Response:
    """`GET /healthz`: the process answers. Says nothing of the database, on purpose."""
    del request
    return json_response({"status": "ok"})


ROUTES = (
    web.get("/healthz", healthz),
    web.post(f"{BASE}/segments", segments.create_segment),
    web.get(f"{BASE}/segments", segments.list_segments),
    web.get(f"{BASE}/segments/{{slug}}", segments.get_segment),
    web.patch(f"{BASE}/segments/{{slug}}", segments.change_segment),
    web.delete(f"{BASE}/segments/{{slug}}", segments.delete_segment),
    web.post(f"{BASE}/users/{{user_id}}/segments", memberships.change_user),
    web.get(f"{BASE}/users/{{user_id}}/segments", memberships.list_user_segments),
    web.get(f"{BASE}/users/{{user_id}}/memberships", memberships.explain_user),
    web.post(f"{BASE}/users/segments", memberships.list_segments_of_users),
)


def create_app(dsn: str) -> web.Application:
    """Return the application that serves the database at `dsn`, a `postgresql://` URL.

    It starts only if the schema there is its own.
    """

    @asynccontextmanager
    async def open_pool(app: web.Application) -> AsyncIterator[None]:
        async with database.pool(dsn) as pool:
            async with database.connection(pool) as conn:
                await schema.check(conn)
            app[database.POOL] = pool
            yield

    app = web.Application(middlewares=[answer_problems], client_max_size=MAX_BODY)
    app.cleanup_ctx.append(open_pool)
    app.add_routes(ROUTES)
    return app
