"""Health checks for operators' tools: liveness, readiness and metrics."""

import asyncio
import time

from aiohttp import web
from marshmallow import Schema, fields, validate

from segsvc.db import migrations
from segsvc.db.pool import Pool, PoolExhausted, Unavailable, connection
from segsvc.http.problems import DatabaseUnavailable, Problem, WrongSchema
from segsvc.http.responses import json_response
from segsvc.http.routes import Routes, Text
from segsvc.observability import metrics

# Seconds that the database has to answer, and for which its answer is reused.
CHECK_TIMEOUT = 1.5
CHECK_INTERVAL = 1.0

ROUTES = Routes("operation", "Health checks, metrics and this document", base="")


class Readiness:
    """Whether the service can work, asked of the database at most once a second."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._check: asyncio.Task[Problem | None] | None = None
        self._reused_until = 0.0

    async def problem(self) -> Problem | None:
        """Return what prevents the service from working, None if nothing does.

        The answer takes at most `CHECK_TIMEOUT`.
        """
        if self._check is None or (self._check.done() and time.monotonic() >= self._reused_until):
            self._check = asyncio.create_task(self._ask())
        return await asyncio.shield(self._check)

    async def _ask(self) -> Problem | None:
        problem: Problem | None = None
        try:
            async with asyncio.timeout(CHECK_TIMEOUT), connection(self._pool) as conn:
                await migrations.check(conn)
        except PoolExhausted:
            pass  # the database is busy with requests, so it answers
        except (Unavailable, TimeoutError):
            problem = DatabaseUnavailable()
        except migrations.SchemaMismatch as error:
            problem = WrongSchema(str(error))
        metrics.DATABASE_UP.set(not isinstance(problem, DatabaseUnavailable))
        self._reused_until = time.monotonic() + CHECK_INTERVAL
        return problem


READINESS = web.AppKey("readiness", Readiness)


class StatusSchema(Schema):
    """The service works."""

    status = fields.String(required=True, validate=validate.Equal("ok"))


STATUS = StatusSchema()


@ROUTES.get("/healthz", role=None, query=None, answers=(STATUS,))
async def healthz(request: web.Request) -> web.Response:
    """Answer if the process lives; the database is not asked."""
    del request
    return json_response(STATUS, {"status": "ok"})


@ROUTES.get(
    "/readyz",
    role=None,
    query=None,
    answers=(STATUS,),
    problems=(DatabaseUnavailable, WrongSchema),
)
async def readyz(request: web.Request) -> web.Response:
    """Answer if the database answers and has the schema of this version."""
    if problem := await request.app[READINESS].problem():
        raise problem
    return json_response(STATUS, {"status": "ok"})


@ROUTES.get(
    "/metrics", role=None, query=None, answers=(Text("text/plain", "segsvc_database_up 1.0\n"),)
)
async def show_metrics(request: web.Request) -> web.Response:
    """Show metrics for Prometheus, added up over all processes of the service."""
    await request.app[READINESS].problem()  # sets the gauge segsvc_database_up
    return web.Response(body=metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})
