"""The application: its routes, its middleware and its pool."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from segsvc import database, schema
from segsvc.answers import json_response
from segsvc.memberships import handlers as memberships
from segsvc.memberships import reads
from segsvc.middlewares import answer_problems
from segsvc.reports import handlers as reports
from segsvc.reports.settings import REPORTS, ReportSettings
from segsvc.segments import handlers as segments

BASE = "/api/v1"

# Bytes of a JSON body: twice a thousand of the longest slugs, and room to spare.
MAX_BODY = 256 * 1024

# Reports made at once.
MAX_REPORTS = 2


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
    web.get(f"{BASE}/users/{{user_id}}/history", memberships.list_user_events),
    web.post(f"{BASE}/users/segments", memberships.list_segments_of_users),
    web.post(f"{BASE}/reports", reports.create_report),
    web.get(f"{BASE}/reports/{{period}}.csv", reports.download_report),
)


def create_app(dsn: str, *, secret: str, public_url: str | None = None) -> web.Application:
    """Return the application that serves the database at `dsn`, a `postgresql://` URL.

    It starts only if the schema there is its own. `secret` signs the links to reports, which
    begin with `public_url` or else with the address that the request was sent to.
    """

    @asynccontextmanager
    async def open_pools(app: web.Application) -> AsyncIterator[None]:
        async with (
            database.pool(dsn) as pool,
            database.report_pool(dsn, MAX_REPORTS) as report_pool,
            reads.opened(dsn, pool) as app[reads.READS],
        ):
            async with database.connection(pool) as conn:
                await schema.check(conn)
            app[database.POOL] = pool
            slots = asyncio.Semaphore(MAX_REPORTS)
            app[REPORTS] = ReportSettings(secret, public_url, report_pool, slots)
            yield

    app = web.Application(middlewares=[answer_problems], client_max_size=MAX_BODY)
    app.cleanup_ctx.append(open_pools)
    app.add_routes(ROUTES)
    return app
