"""Questions that go together: what each sees, and what the failure of one is to the others."""

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from segsvc.db import batching as batches
from segsvc.db.batching import Batcher
from segsvc.db.pool import Connection, KeptConnection, Unavailable
from tests import lock_waits

# Fixes what it sees, and then waits for the lock: the answer says whether a user was there.
SEE = """
    WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(1))
    SELECT EXISTS (SELECT FROM users AS u WHERE u.id = asked.id) AS there, 1 / asked.id AS whole
    FROM held, unnest($1::bigint[]) AS asked (id)
"""


class Seen:
    """Asks whether users are there, and remembers which were asked about together."""

    def __init__(self, dsn: str) -> None:
        self.kept = KeptConnection(dsn)
        self.sent: list[list[int]] = []
        self.batches: Batcher[int, bool] = Batcher(self.kept.lend, self._query)

    async def _query(self, conn: Connection, user_ids: list[int]) -> list[bool]:
        self.sent.append(user_ids)
        return [row["there"] for row in await conn.fetch(SEE, user_ids)]

    def ask(self, user_id: int) -> asyncio.Task[bool]:
        return asyncio.create_task(self.batches.ask(user_id))


@pytest.fixture
async def seen(dsn: str) -> AsyncIterator[Seen]:
    seen = Seen(dsn)
    async with seen.kept:
        yield seen
        await seen.batches.close()


@asynccontextmanager
async def held(conn: Connection, seen: Seen) -> AsyncIterator[tuple[asyncio.Task[bool], ...]]:
    """Hold up two questions in their query until the context ends; yield them."""
    await conn.execute("SELECT pg_advisory_lock(1)")
    first = (seen.ask(1000), seen.ask(1001))
    await lock_waits.state(conn)
    yield first
    await conn.execute("SELECT pg_advisory_unlock(1)")


async def test_those_who_wait_go_together(seen: Seen, conn: Connection) -> None:
    """A question is sent at once; those that come meanwhile are one query, in their order."""
    async with held(conn, seen):
        later = [seen.ask(user_id) for user_id in (3, 1, 2, 1)]
        await asyncio.sleep(0.01)
        assert seen.sent == [[1000, 1001]]
    await asyncio.gather(*later)
    assert seen.sent == [[1000, 1001], [3, 1, 2, 1]]


async def test_sees_what_was_committed_before(seen: Seen, conn: Connection) -> None:
    """A question asked after a commit sees it, even while an older query is under way."""
    async with held(conn, seen) as (before, _):
        await conn.execute("INSERT INTO users VALUES (1000, now())")
        after = seen.ask(1000)
        await asyncio.sleep(0.01)
    assert (await before, await after) == (False, True)


async def test_failure_concerns_its_own_query(seen: Seen, conn: Connection) -> None:
    """A query that fails fails those in it, and neither the one before nor the one after."""
    async with held(conn, seen) as (before, _):
        doomed = [seen.ask(1), seen.ask(0)]
        await asyncio.sleep(0.01)
    assert await before is False
    for task in doomed:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await task
    assert await seen.ask(1) is False


async def test_cut_connection_is_replaced(seen: Seen, conn: Connection) -> None:
    """A connection cut under a query fails that query; the next one has a connection."""
    async with held(conn, seen) as (first, second):
        later = seen.ask(1)
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND NOT granted"
        )
        for task in (first, second):
            with pytest.raises(Unavailable):
                await task
    assert await later is False


async def test_goers_disturb_nobody(seen: Seen, conn: Connection) -> None:
    """Who goes away while waiting is not asked for, who goes while asked for is not answered."""
    async with held(conn, seen) as (first, second):
        gone, stays = seen.ask(1), seen.ask(2)
        await asyncio.sleep(0.01)
        gone.cancel()
        first.cancel()
        await asyncio.sleep(0.01)
    assert (await second, await stays) == (False, False)
    assert seen.sent == [[1000, 1001], [2]]
    assert gone.cancelled()
    assert first.cancelled()


async def test_no_question_is_forgotten(seen: Seen) -> None:
    """However soon after an answer the next question comes, it is answered."""
    async with asyncio.timeout(30):
        for turns in range(200):
            await seen.batches.ask(1)
            for _ in range(turns % 20):
                await asyncio.sleep(0)
    assert seen.sent == [[1]] * 200


async def test_work_is_not_collected(seen: Seen, conn: Connection) -> None:
    """The collector of garbage finds nothing to take while a query is under way."""
    async with held(conn, seen) as (first, second):
        gc.collect()
    assert (await first, await second) == (False, False)


async def test_largest_batch(seen: Seen, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those over the limit of a batch go in the next."""
    monkeypatch.setattr(batches, "MAX_BATCH_SIZE", 3)
    async with held(conn, seen):
        later = [seen.ask(user_id) for user_id in range(1, 8)]
        await asyncio.sleep(0.01)
    await asyncio.gather(*later)
    assert seen.sent == [[1000, 1001], [1, 2, 3], [4, 5, 6], [7]]


async def test_close_leaves_nothing(seen: Seen, conn: Connection) -> None:
    """Closing under a query cancels those who wait, and leaves no task and no connection."""
    async with held(conn, seen) as (first, second):
        later = seen.ask(1)
        await asyncio.sleep(0.01)
        tasks = asyncio.all_tasks()
        await seen.batches.close()
        await asyncio.wait([first, second, later])
        assert [task.cancelled() for task in (first, second, later)] == [True] * 3
        assert asyncio.all_tasks() == {task for task in tasks if not task.done()}
    others = "SELECT FROM pg_stat_activity WHERE query LIKE '%held AS%' AND pid <> pg_backend_pid()"
    await lock_waits.state(conn, f"SELECT NOT EXISTS ({others})")


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"postgresql://nobody@127.0.0.1:{listening.getsockname()[1]}/none"


async def test_mute_server(mute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a connection everyone who waits for one is told, also who came during the attempt."""
    monkeypatch.setattr("segsvc.db.url.CONNECT_TIMEOUT", 1)
    seen = Seen(mute)
    began = time.monotonic()
    first = seen.ask(1)
    await asyncio.sleep(0.7)
    second = seen.ask(2)
    for task in (first, second):
        with pytest.raises(Unavailable):
            await task
    assert time.monotonic() - began < 1.6
    assert seen.sent == []
