"""How far the feed is served, asked once for all who wait in this process."""

import asyncio
from contextlib import suppress
from datetime import datetime

from aiohttp import web

from segsvc.api.events import store
from segsvc.api.events.store import Position
from segsvc.db.pool import KeptConnection, Refused, Unavailable
from segsvc.http.fields import EARLIEST

# Seconds between two queries for the horizon, and for which a list of members waits for one.
INTERVAL = 0.5
LONGEST_WAIT_OF_A_LIST = 1.0

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
        self._asked_at = -INTERVAL
        self._asking: asyncio.Task[datetime] | None = None
        self._horizon: datetime | None = None
        self._quiet_from: datetime | None = None
        self._stopping = asyncio.Event()
        # Where the events begin that are kept.
        self.oldest = Position(EARLIEST)

    async def horizon(self) -> datetime:
        """Return the horizon, at most `INTERVAL` old; a failure is shared by all who ask, too.

        Raises:
            ReadOnly: the database takes no writes, so the horizon cannot be stored.
            Refused: the database hides a transaction that may write.
            Unavailable: the database cannot be used.
        """
        if self._asking is None or (self._asking.done() and _now() - self._asked_at >= INTERVAL):
            self._asked_at = _now()
            self._asking = asyncio.create_task(self._ask())
            # Those who wait for it may all have left.
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> datetime:
        before = self._horizon
        async with self._kept.lend() as conn:
            found = await store.advance_horizon(conn)
            at = found.at or before
            if at and (not before or at < before or await store.changed(conn, before, at)):
                self._quiet_from = at
        if at is None:
            raise Refused(HIDDEN)
        self._horizon = at
        if found.pruned_before:
            self.oldest = Position(found.pruned_before)
        return at

    def is_quiet(self, position: Position) -> bool:
        """Return whether nothing has happened from a position to the horizon."""
        quiet_from = self._quiet_from
        return quiet_from is not None and position.at >= quiet_from and position >= self.oldest

    async def position(self, at: datetime | None) -> Position | None:
        """Return from where to follow a list of members that is read after this, as of `at`.

        None: the feed cannot be followed, because the database takes no writes, hides a
        transaction, or has a write under way from before what was pruned. What follows may repeat
        what the list has, if `at` is not before the horizon.
        """
        try:
            async with asyncio.timeout(LONGEST_WAIT_OF_A_LIST):
                horizon = Position(await self.horizon())
        except (Unavailable, TimeoutError):
            return None
        position = horizon if at is None else min(Position.after(at), horizon)
        return position if position >= self.oldest else None

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
