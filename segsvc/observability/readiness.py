"""Whether the service can do its work: the database answers, and its schema is this version's."""

import asyncio
import logging
import time

from aiohttp import web

from segsvc.db import migrations
from segsvc.db.pool import Pool, PoolExhausted, Unavailable, connection
from segsvc.http.problems import DatabaseUnavailable, Problem, WrongSchema
from segsvc.observability import metrics

# Seconds that the database has to answer, and that its answer holds for all who ask.
TIMEOUT = 1.5
FRESH = 1.0

log = logging.getLogger(__name__)


class Readiness:
    """What stands in the way, asked of the database on `pool` once a second at most."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._asking: asyncio.Task[Problem | None] | None = None
        self._fresh_until = 0.0

    async def problem(self) -> Problem | None:
        """Return what stands in the way of work, None if nothing does, within `TIMEOUT`."""
        if self._asking is None or (self._asking.done() and time.monotonic() >= self._fresh_until):
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Problem | None:
        problem: Problem | None = None
        try:
            async with asyncio.timeout(TIMEOUT), connection(self._pool) as conn:
                await migrations.check(conn)
        except PoolExhausted:
            pass  # there is work enough, and it is being done
        except (Unavailable, TimeoutError):
            problem = DatabaseUnavailable()
        except migrations.SchemaMismatch as error:
            problem = WrongSchema(str(error))
        metrics.DATABASE_UP.set(not isinstance(problem, DatabaseUnavailable))
        self._fresh_until = time.monotonic() + FRESH
        return problem


READINESS = web.AppKey("readiness", Readiness)
