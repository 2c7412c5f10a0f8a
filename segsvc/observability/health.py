"""Health checks for operators' tools: liveness, readiness and metrics."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf

from aiohttp import web
from marshmallow import Schema, fields, validate

from segsvc.db import migrations, state
from segsvc.db.pool import (
    FAULTS,
    READ_ONLY_FAULT,
    Connection,
    Pool,
    PoolExhausted,
    Unavailable,
    connection,
)
from segsvc.http.problems import DatabaseUnavailable, Problem, WrongSchema, WrongSetup
from segsvc.http.responses import json_response
from segsvc.http.routes import Routes, Text
from segsvc.http.threads import in_thread
from segsvc.observability import metrics

# Seconds that the database has to answer, and for which its answer is reused.
CHECK_TIMEOUT = 1.5
CHECK_INTERVAL = 1.0

ROUTES = Routes("operation", "Health checks, metrics and this document", base="")


@dataclass(frozen=True)
class Status:
    """What the service can do.

    Attributes:
        problem: what prevents it from working, None if nothing does.
        read_only: why the database takes no writes, None if it does.
        feed_lag: age of the oldest write under way in seconds, None if it cannot be seen.
    """

    problem: Problem | None = None
    read_only: str | None = None
    feed_lag: float | None = None


class Readiness:
    """Whether the service can work, asked of the database at most once a second."""

    def __init__(
        self, pool: Pool, feed_lag: Callable[[Connection], Awaitable[float | None]]
    ) -> None:
        self._pool = pool
        self._feed_lag = feed_lag
        self._check: asyncio.Task[Status] | None = None
        self._reused_until = 0.0

    async def status(self) -> Status:
        """Return what the service can do. The answer takes at most `CHECK_TIMEOUT`."""
        if self._check is None or (self._check.done() and time.monotonic() >= self._reused_until):
            self._check = asyncio.create_task(self._ask())
        return await asyncio.shield(self._check)

    async def _ask(self) -> Status:
        status = Status()
        try:
            async with asyncio.timeout(CHECK_TIMEOUT), connection(self._pool) as conn:
                found = await state.check(conn, "serve")
                await migrations.check(conn)
                lag = await self._feed_lag(conn)
            status = Status(read_only=found.read_only, feed_lag=lag)
            metrics.FEED_LAG.set(inf if lag is None else lag)
            if found.read_only:
                FAULTS.found(READ_ONLY_FAULT, f"the database takes no writes: {found.read_only}")
            else:
                FAULTS.over()
        except PoolExhausted:
            pass  # the database is busy with requests, so it answers
        except (Unavailable, TimeoutError):
            status = Status(DatabaseUnavailable())
        except state.WrongSetup as error:
            FAULTS.found(str(error), str(error))
            status = Status(WrongSetup(str(error)))
        except migrations.SchemaMismatch as error:
            status = Status(WrongSchema(str(error)))
        metrics.DATABASE_UP.set(not isinstance(status.problem, DatabaseUnavailable))
        metrics.DATABASE_WRITABLE.set(not status.problem and not status.read_only)
        self._reused_until = time.monotonic() + CHECK_INTERVAL
        return status


class Exposition:
    """The metrics as text. Those who ask while it is made, which takes a while, share it."""

    def __init__(self) -> None:
        self._making: asyncio.Task[bytes] | None = None

    async def text(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(in_thread(metrics.exposition))
        return await asyncio.shield(self._making)


READINESS = web.AppKey("readiness", Readiness)
EXPOSITION = web.AppKey("exposition", Exposition)


class StatusSchema(Schema):
    """The service works."""

    status = fields.String(required=True, validate=validate.Equal("ok"))


class ReadinessSchema(StatusSchema):
    """The service reads; `writes` says whether it writes too, `reason` why not.

    `feed_lag_seconds`: how far the feed is behind, the age of the longest write under way; null if
    the database hides it.
    """

    writes = fields.Boolean(required=True, metadata={"examples": [True]})
    reason = fields.String(required=True, allow_none=True, metadata={"examples": [None]})
    feed_lag_seconds = fields.Float(required=True, allow_none=True, metadata={"examples": [0.012]})


STATUS = StatusSchema()
READINESS_ANSWER = ReadinessSchema()


@ROUTES.get("/healthz", role=None, query=None, answers=(STATUS,))
async def healthz(request: web.Request) -> web.Response:
    """Answer if the process lives; the database is not asked."""
    del request
    return json_response(STATUS, {"status": "ok"})


@ROUTES.get(
    "/readyz",
    role=None,
    query=None,
    answers=(READINESS_ANSWER,),
    problems=(DatabaseUnavailable, WrongSchema, WrongSetup),
)
async def readyz(request: web.Request) -> web.Response:
    """Answer if the database answers and has the schema and the rights of this version."""
    status = await request.app[READINESS].status()
    if status.problem:
        raise status.problem
    answer = {
        "status": "ok",
        "writes": not status.read_only,
        "reason": status.read_only,
        "feed_lag_seconds": status.feed_lag,
    }
    return json_response(READINESS_ANSWER, answer)


@ROUTES.get(
    "/metrics", role=None, query=None, answers=(Text("text/plain", "segsvc_database_up 1.0\n"),)
)
async def show_metrics(request: web.Request) -> web.Response:
    """Show metrics for Prometheus, added up over all processes of the service."""
    await request.app[READINESS].status()  # sets the gauges of the database
    text = await request.app[EXPOSITION].text()
    return web.Response(body=text, headers={"Content-Type": metrics.CONTENT_TYPE})
