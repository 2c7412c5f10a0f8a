"""Dedicated connections for long requests: one connection each, and a limited number at once.

They do not come from the pool, so reports and imports never take connections from reads.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import Gauge

from segsvc.db.pool import Connection, session


class NoFreeSlot(Exception):  # noqa: N818 (a state, not a mistake)
    """The allowed number of long requests is under way."""


@dataclass(frozen=True)
class DedicatedConnections:
    """Connections to the database at `dsn`, one a slot, counted in the gauge `under_way`."""

    dsn: str
    slots: asyncio.Semaphore
    under_way: Gauge

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Connection]:
        """Open a connection for one request and close it afterwards.

        Raises:
            NoFreeSlot: all slots are taken.
            Unavailable: the database cannot be used.
        """
        if self.slots.locked():
            raise NoFreeSlot
        async with self.slots, session(self.dsn) as conn:
            with self.under_way.track_inprogress():
                yield conn
