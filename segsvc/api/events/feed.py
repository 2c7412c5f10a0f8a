"""How far the feed is served, asked once for all who wait in this process."""

import asyncio
from contextlib import suppress
from datetime import datetime

from aiohttp import web

from segsvc.api.events import store
from segsvc.api.events.store import Position
from segsvc.db.pool import KeptConnection, Refused, Unavailable

# Seconds between two queries for the horizon.
INTERVAL = 0.5

HIDDEN = (
    "the feed waits for a transaction of another role, whose start this role cannot see: GRANT"
    " pg_read_all_stats to it, or try again when that transaction has ended"
)


class Feed:
    """The safe horizon as of a moment ago, and since when nothing has happened before it.

    It is asked for on a connection of its own, at most twice a second, however many wait for it.
    """

    def __init__(self, kept: KeptConnection) -> None:
        self._kept = kept
        self._asking = asyncio.Lock()
        self._asked_at = -INTERVAL
        self._horizon: datetime | None = None
        self._quiet_from: datetime | None = None
        self._stopping = asyncio.Event()

    async def horizon(self) -> datetime:
        """Return the horizon, at most `INTERVAL` old.

        Raises:
            ReadOnly: the database takes no writes, so the horizon cannot be stored.
            Refused: the database hides a transaction that may write.
            Unavailable: the database cannot be used.
        """
        async with self._asking:
            if self._horizon is None or _now() - self._asked_at >= INTERVAL:
                self._horizon = await self._ask()
            return self._horizon

    async def _ask(self) -> datetime:
        asked_at = _now()
        before = self._horizon
        async with self._kept.lend() as conn:
            found = (await store.advance_horizon(conn)).at or before
            if found and (not before or found < before or await store.changed(conn, before, found)):
                self._quiet_from = found
        if found is None:
            raise Refused(HIDDEN)
        self._asked_at = asked_at
        return found

    def is_quiet(self, position: Position) -> bool:
        """Return whether nothing has happened from a position to the horizon."""
        return self._quiet_from is not None and position.at >= self._quiet_from

    async def position(self, at: datetime | None) -> Position | None:
        """Return from where to follow a list of members that is read after this, as of `at`.

        None: the database takes no writes, or hides a transaction, and the feed cannot be followed.
        What follows may repeat what the list has, if `at` is not before the horizon.
        """
        try:
            horizon = Position(await self.horizon())
        except Unavailable:
            return None
        return horizon if at is None else min(Position.after(at), horizon)

    async def pause(self, seconds: float) -> None:
        """Wait until the horizon may be asked for again, so many seconds at most."""
        left = self._asked_at + INTERVAL - _now()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0, min(left, seconds))):
                await self._stopping.wait()

    @property
    def stopped(self) -> bool:
        """Whether the service stops, so that nobody is to wait."""
        return self._stopping.is_set()

    async def stop(self, _: web.Application) -> None:
        """Answer those who wait."""
        self._stopping.set()


FEED = web.AppKey("feed", Feed)


def _now() -> float:
    return asyncio.get_running_loop().time()
