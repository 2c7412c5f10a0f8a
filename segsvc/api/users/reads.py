"""The hot read: the present segments of one user, asked by many at once.

Each process keeps one connection for it. Lending one from the pool would cost a round trip more.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
from aiohttp import web

from segsvc.api.users import store
from segsvc.db.batching import Batcher
from segsvc.db.pool import Connection, KeptConnection, Pool, Unavailable, connection

log = logging.getLogger(__name__)


class Reads:
    """Reads of present segments that go together, and the noting of users met in them first."""

    def __init__(self, kept: KeptConnection, pool: Pool) -> None:
        """Read on `kept`, and make users known on connections of `pool`."""
        self._reads: Batcher[int, asyncpg.Record] = Batcher(kept.lend, store.fetch_at)
        self._registrations: Batcher[int, None] = Batcher(lambda: connection(pool), _register)

    async def list_now(self, user_id: int) -> list[str]:
        """Return the sorted slugs of the user's segments; the user is known from now on.

        It sees everything that was committed before it was called.

        Raises:
            Unavailable: the database cannot be used at the moment.
        """
        row = await self._reads.ask(user_id)
        if not row["known"]:
            await self._note(user_id)
        segments: list[str] = row["segments"]
        return segments

    async def close(self) -> None:
        """Stop at once, with whatever is under way."""
        await self._reads.close()
        await self._registrations.close()

    async def _note(self, user_id: int) -> None:
        """Make a user known apart from the reads, which do not wait for it."""
        try:
            async with asyncio.timeout(store.REGISTER_TIMEOUT):
                await self._registrations.ask(user_id)
        except (Unavailable, TimeoutError) as error:
            log.warning("could not register user %d: %r", user_id, error)


READS = web.AppKey("reads", Reads)


@asynccontextmanager
async def opened(dsn: str, pool: Pool) -> AsyncIterator[Reads]:
    """Yield reads of the database at `dsn`; nothing of them is left after."""
    async with KeptConnection(dsn) as kept:
        reads = Reads(kept, pool)
        try:
            yield reads
        finally:
            await reads.close()


async def _register(conn: Connection, user_ids: list[int]) -> Sequence[None]:
    await store.register(conn, set(user_ids))
    return [None] * len(user_ids)
