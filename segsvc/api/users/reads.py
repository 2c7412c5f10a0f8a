"""The hot read: the current segments of a user, batched with the reads of other users.

Each process keeps one connection for it: acquiring one from the pool would cost a round trip more.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
from aiohttp import web

from segsvc.api.users import store
from segsvc.db.batching import Batcher
from segsvc.db.pool import Connection, KeptConnection, Pool, Unavailable, connection
from segsvc.db.quotas import Quota
from segsvc.observability import metrics

log = logging.getLogger(__name__)


class Reads:
    """Batched reads of current segments, and batched registrations of new users."""

    def __init__(self, kept: KeptConnection, pool: Pool) -> None:
        """Read on `kept`; register users on connections of `pool`."""
        self._reads: Batcher[int, asyncpg.Record] = Batcher(kept.lend, _fetch_now)
        self._registrations: Batcher[int, None] = Batcher(lambda: connection(pool), _register)

    async def list_now(self, user_id: int, quota: Quota) -> list[str]:
        """Return the sorted slugs of the user's segments; the user is known from now on.

        It sees everything that was committed before the call.

        Raises:
            QuotaUsedUp: the user is not known, and `quota` has none left.
            Unavailable: the database cannot be used at the moment.
        """
        row = await self._reads.ask(user_id)
        if not row["known"]:
            await self.make_known(user_id, quota)
        segments: list[str] = row["segments"]
        return segments

    async def close(self) -> None:
        """Stop at once and cancel what is under way."""
        await self._reads.close()
        await self._registrations.close()

    async def make_known(self, user_id: int, quota: Quota) -> None:
        """Make a user known; a failure is logged and does not fail the read.

        Raises:
            QuotaUsedUp: `quota` has none left.
        """
        quota.take(1)
        try:
            async with asyncio.timeout(store.REGISTER_TIMEOUT):
                await self._registrations.ask(user_id)
        except (Unavailable, TimeoutError) as error:
            log.warning("could not register user %d: %r", user_id, error)


READS = web.AppKey("reads", Reads)


@asynccontextmanager
async def opened(dsn: str, pool: Pool) -> AsyncIterator[Reads]:
    """Yield reads of the database at `dsn`, and close them afterwards."""
    async with KeptConnection(dsn) as kept:
        reads = Reads(kept, pool)
        try:
            yield reads
        finally:
            await reads.close()


async def list_at(
    conn: Connection, user_ids: Sequence[int], at: datetime | None, quota: Quota
) -> list[list[str]]:
    """Return what `store.list_at` returns, and count the users in the metrics."""
    metrics.READS_PER_QUERY.observe(len(user_ids))
    return await store.list_at(conn, user_ids, at, quota)


async def _fetch_now(conn: Connection, user_ids: list[int]) -> list[asyncpg.Record]:
    metrics.READS_PER_QUERY.observe(len(user_ids))
    return await store.fetch_at(conn, user_ids)


async def _register(conn: Connection, user_ids: list[int]) -> Sequence[None]:
    await store.register(conn, set(user_ids))
    return [None] * len(user_ids)
