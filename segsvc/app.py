"""The application: its routes, middlewares and resources."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from segsvc.api.audit.handlers import ROUTES as AUDIT
from segsvc.api.events import store as events
from segsvc.api.events.feed import FEED, Feed
from segsvc.api.events.handlers import ROUTES as EVENTS
from segsvc.api.layers.handlers import ROUTES as LAYERS
from segsvc.api.members.handlers import ROUTES as MEMBERS
from segsvc.api.ofrep import evaluations
from segsvc.api.ofrep.handlers import ROUTES as OFREP
from segsvc.api.reports.handlers import LINKS, LinkSettings
from segsvc.api.reports.handlers import ROUTES as REPORTS
from segsvc.api.segments.handlers import ROUTES as SEGMENTS
from segsvc.api.users import reads, writes
from segsvc.api.users.handlers import ROUTES as USERS
from segsvc.auth.keys import KEY_CACHE, KeyCache
from segsvc.console import routes as pages
from segsvc.console.sessions import SECRET
from segsvc.db import migrations, state
from segsvc.db.dedicated import DedicatedConnections
from segsvc.db.pool import KeptConnection, Pool, Turns, connection
from segsvc.db.quotas import Quotas
from segsvc.http import cors
from segsvc.http.app_keys import EXPORTS, IMPORTS, LARGE_READS, LIMITS, POOL, QUOTAS
from segsvc.http.middlewares import answering
from segsvc.observability import access_log, loop_monitor, metrics
from segsvc.observability.health import EXPOSITION, READINESS, Exposition, Readiness
from segsvc.observability.health import ROUTES as HEALTH
from segsvc.openapi.document import DOCUMENT, Document
from segsvc.openapi.handlers import ROUTES as OPENAPI
from segsvc.settings import DEFAULT_LIMITS, Limits

# In the order in which a reader of the OpenAPI document needs them.
RESOURCES = (SEGMENTS, USERS, MEMBERS, LAYERS, EVENTS, REPORTS, AUDIT, OFREP, HEALTH, OPENAPI)


# Of aiohttp's protocol.
HANDLER_ARGS = {
    "auto_decompress": False,  # segsvc.http.body_stream decodes
    "access_log_class": access_log.AccessLog,
    "access_log": access_log.log,
}


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

    It starts only if the database has the schema of this version, and if there is an API key or
    `anonymous` use is allowed. `secret` signs the links to reports, which begin with `public_url`,
    by default with the scheme and host of the request. Pages of `origins` may call the service.
    """

    @asynccontextmanager
    async def open_pools(app: web.Application) -> AsyncIterator[None]:
        async with Pool(dsn, limits) as pool, reads.opened(dsn, pool) as app[reads.READS]:
            async with connection(pool) as conn:
                await state.check(conn, "serve")
                await migrations.check(conn)
            app[POOL] = pool
            app[READINESS] = Readiness(pool, events.lag)
            async with (
                loop_monitor.measured(),
                writes.opened(dsn, pool, limits) as app[writes.WRITES],
                evaluations.opened(dsn, app[reads.READS]) as app[evaluations.EVALUATIONS],
                feed_connection,
                KeptConnection(dsn) as for_keys,
                KeyCache(for_keys, anonymous=anonymous).refreshed() as app[KEY_CACHE],
            ):
                yield

    roles = {route.handler: route.role for resource in RESOURCES for route in resource}
    # A page looks for a session, not for a key.
    roles |= dict.fromkeys(handler for _, _, handler in pages.PAGES)
    app = web.Application(
        middlewares=[answering(roles, limits.most_per_key)], handler_args=HANDLER_ARGS
    )
    for key, kind, most in (
        (EXPORTS, "export", limits.exports),
        (IMPORTS, "import", limits.imports),
    ):
        app[key] = DedicatedConnections(
            dsn, asyncio.Semaphore(most), metrics.UNDER_WAY.labels(kind)
        )
    feed_connection = KeptConnection(dsn)
    app[FEED] = Feed(feed_connection)
    app.on_shutdown.append(app[FEED].stop)
    app[LIMITS] = limits
    app[EXPOSITION] = Exposition()
    app[LARGE_READS] = Turns(limits.waiting)
    app[QUOTAS] = Quotas(limits.new_users)
    app[LINKS] = LinkSettings(secret, public_url)
    app.cleanup_ctx.append(open_pools)
    for resource in RESOURCES:
        app.add_routes([route.definition for route in resource])
    app[DOCUMENT] = Document(RESOURCES)
    pages.set_up(app)
    app[SECRET] = secret
    app.add_routes([web.route(method, path, handler) for method, path, handler in pages.PAGES])
    if origins:
        preflight, add_headers = cors.allow(origins)
        app.middlewares.append(preflight)
        app.on_response_prepare.append(add_headers)
    return app
