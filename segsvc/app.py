"""The application: its routes, its middleware and its pool."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from segsvc import access, cors, database, metrics, monitoring, schema
from segsvc.keys.ring import KEYRING, Keyring
from segsvc.limits import DEFAULT_LIMITS, LIMITS, Limits
from segsvc.members import handlers as members
from segsvc.memberships import handlers as memberships
from segsvc.memberships import reads
from segsvc.middlewares import OPEN, READING, answer_problems, authorize
from segsvc.ofrep import evaluations
from segsvc.ofrep import handlers as ofrep
from segsvc.openapi import handlers as openapi
from segsvc.openapi.document import DESCRIPTION, Description
from segsvc.readiness import READINESS, Readiness
from segsvc.reports import handlers as reports
from segsvc.reports.settings import REPORTS, ReportSettings
from segsvc.segments import handlers as segments
from segsvc.sessions import EXPORTS, IMPORTS, Sessions

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
                await schema.check(conn)
            app[database.POOL] = pool
            app[READINESS] = Readiness(pool)
            async with (
                evaluations.opened(app[reads.READS], pool) as app[evaluations.EVALUATIONS],
                Keyring(pool, anonymous=anonymous).kept_fresh() as app[KEYRING],
            ):
                yield

    app = web.Application(
        middlewares=[answer_problems, authorize],
        handler_args={
            "auto_decompress": False,  # see segsvc.bodies
            "access_log_class": access.AccessLog,
            "access_log": access.log,
        },
    )
    for key, kind, most in (
        (EXPORTS, "export", limits.exports),
        (IMPORTS, "import", limits.imports),
    ):
        app[key] = Sessions(dsn, asyncio.Semaphore(most), metrics.UNDER_WAY.labels(kind))
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
