"""The application: its routes, its middleware and its pool."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from segsvc.api.members import handlers as members
from segsvc.api.ofrep import evaluations
from segsvc.api.ofrep import handlers as ofrep
from segsvc.api.reports import handlers as reports
from segsvc.api.reports.settings import REPORTS, ReportSettings
from segsvc.api.segments import handlers as segments
from segsvc.api.users import handlers as memberships
from segsvc.api.users import reads
from segsvc.auth.keys import KEY_CACHE, KeyCache
from segsvc.db import migrations
from segsvc.db import pool as database
from segsvc.db.dedicated import DedicatedConnections
from segsvc.http import cors
from segsvc.http.app_keys import EXPORTS, IMPORTS, LIMITS, POOL
from segsvc.http.middlewares import OPEN, READING, answer_problems, authorize
from segsvc.observability import access_log, metrics
from segsvc.observability import health as monitoring
from segsvc.observability.readiness import READINESS, Readiness
from segsvc.openapi import handlers as openapi
from segsvc.openapi.document import DESCRIPTION, Description
from segsvc.settings import DEFAULT_LIMITS, Limits

BASE = "/api/v1"
FLAGS = "/ofrep/v1/evaluate/flags"


# Whoever has a report's link may follow it: it is signed.
OPEN_ROUTES = (
    web.get("/healthz", monitoring.healthz),
    web.get("/readyz", monitoring.readyz),
    web.get("/metrics", monitoring.show_metrics),
    web.get("/openapi.json", openapi.show_openapi),
    web.get("/docs", openapi.show_docs),
    web.get("/docs/{file}", openapi.show_docs_file),
    web.get(f"{BASE}/reports/{{period}}.csv", reports.download_report),
)
READING_ROUTES = (
    web.get(f"{BASE}/users/{{user_id}}/segments", memberships.list_user_segments),
    web.get(f"{BASE}/users/{{user_id}}/memberships", memberships.explain_user),
    web.get(f"{BASE}/users/{{user_id}}/history", memberships.list_user_events),
    web.post(f"{BASE}/users/segments", memberships.list_segments_of_users),
    web.post(f"{FLAGS}/{{key}}", ofrep.evaluate_flag),
    web.post(FLAGS, ofrep.evaluate_flags),
)
EDITING_ROUTES = (
    web.post(f"{BASE}/segments", segments.create_segment),
    web.get(f"{BASE}/segments", segments.list_segments),
    web.get(f"{BASE}/segments/{{slug}}", segments.get_segment),
    web.patch(f"{BASE}/segments/{{slug}}", segments.change_segment),
    web.delete(f"{BASE}/segments/{{slug}}", segments.delete_segment),
    web.post(f"{BASE}/segments/{{slug}}/members/add", members.add_members),
    web.post(f"{BASE}/segments/{{slug}}/members/remove", members.remove_members),
    web.get(f"{BASE}/segments/{{slug}}/members", members.list_members),
    web.post(f"{BASE}/users/{{user_id}}/segments", memberships.change_user),
    web.post(f"{BASE}/reports", reports.create_report),
)


def create_app(  # noqa: PLR0913 (what an operator can set)
    dsn: str,
    *,
    secret: str,
    anonymous: bool = False,
    public_url: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    origins: frozenset[str] = frozenset(),
) -> web.Application:
    """Return the application that serves the database at `dsn`, a `postgresql://` URL.

    It starts only if the schema there is its own, and if there is a key or it may be `anonymous`.
    `secret` signs the links to reports, which begin with `public_url` or else with the address that
    the request was sent to. Pages of `origins` may use it, beside those of its own.
    """

    @asynccontextmanager
    async def open_pools(app: web.Application) -> AsyncIterator[None]:
        async with database.Pool(dsn, limits) as pool, reads.opened(dsn, pool) as app[reads.READS]:
            async with database.connection(pool) as conn:
                await migrations.check(conn)
            app[POOL] = pool
            app[READINESS] = Readiness(pool)
            async with (
                evaluations.opened(app[reads.READS], pool) as app[evaluations.EVALUATIONS],
                KeyCache(pool, anonymous=anonymous).kept_fresh() as app[KEY_CACHE],
            ):
                yield

    app = web.Application(
        middlewares=[answer_problems, authorize],
        handler_args={
            "auto_decompress": False,  # see segsvc.bodies
            "access_log_class": access_log.AccessLog,
            "access_log": access_log.log,
        },
    )
    for key, kind, most in (
        (EXPORTS, "export", limits.exports),
        (IMPORTS, "import", limits.imports),
    ):
        app[key] = DedicatedConnections(
            dsn, asyncio.Semaphore(most), metrics.UNDER_WAY.labels(kind)
        )
    app[LIMITS] = limits
    app[REPORTS] = ReportSettings(secret, public_url)
    app.cleanup_ctx.append(open_pools)
    app[OPEN] = frozenset(route.handler for route in OPEN_ROUTES)
    app[READING] = frozenset(route.handler for route in READING_ROUTES)
    app.add_routes([*OPEN_ROUTES, *READING_ROUTES, *EDITING_ROUTES])
    if origins:
        preflight, mark = cors.allow(origins)
        app.middlewares.insert(0, preflight)
        app.on_response_prepare.append(mark)
    app[DESCRIPTION] = Description(app)
    return app
