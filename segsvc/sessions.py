"""Connections for requests that take their time: one each, and few at once.

They never come from the pool, so that however many reports and imports are asked for, the reads
go on.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import Gauge

from segsvc.database import Connection, session
from segsvc.problems import Busy


@dataclass(frozen=True)
class Sessions:
    """As many connections to the database at `dsn` as there are `slots`, counted in `under_way`."""

    dsn: str
    slots: asyncio.Semaphore
    under_way: Gauge

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Connection]:
        """Lend a connection of its own.

        Raises:
            Busy: all slots are taken.
            Unavailable: there is no connection, or it broke, or the server cannot do its work.
        """
        if self.slots.locked():
            raise Busy("as many of these as allowed are under way: try again in a moment")
        async with self.slots, session(self.dsn) as conn:
            with self.under_way.track_inprogress():
                yield conn


EXPORTS = web.AppKey("exports", Sessions)
IMPORTS = web.AppKey("imports", Sessions)
