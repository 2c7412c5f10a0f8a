"""Present segments through HTTP: many reads at once, and readers met for the first time."""

import asyncio
import time

from segsvc.api.users.store import REGISTER_TIMEOUT
from segsvc.db.pool import Connection
from tests.conftest import Client


async def read(client: Client, user_id: int) -> list[str]:
    response = await client.get(f"/api/v1/users/{user_id}/segments")
    assert response.status == 200
    slugs: list[str] = (await response.json())["segments"]
    return slugs


async def test_each_reader_gets_their_own(client: Client) -> None:
    """Of many reads at once each is answered with the segments of its user."""
    for slug in ("ODD", "EVEN"):
        await client.post("/api/v1/segments", json={"slug": slug})
    of = {user_id: ["ODD"] if user_id % 2 else ["EVEN"] for user_id in range(1, 101)}
    for user_id, slugs in of.items():
        await client.post(f"/api/v1/users/{user_id}/segments", json={"add": slugs})
    asked = [*of, *of]
    assert await asyncio.gather(*(read(client, u) for u in asked)) == [of[u] for u in asked]


async def test_write_is_read_at_once(client: Client) -> None:
    """While others read the same user, who has written reads what was written."""
    await client.post("/api/v1/segments", json={"slug": "A"})
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            await read(client, 1)

    watchers = [asyncio.create_task(watch()) for _ in range(8)]
    for n in range(50):
        body = {"remove": ["A"]} if n % 2 else {"add": ["A"]}
        await client.post("/api/v1/users/1/segments", json=body)
        assert await read(client, 1) == ([] if n % 2 else ["A"])
    done.set()
    await asyncio.gather(*watchers)


async def test_noting_a_user_holds_up_nobody_else(client: Client, conn: Connection) -> None:
    """While a user met first cannot be registered, the reads of others go on."""
    await client.post("/api/v1/segments", json={"slug": "A", "percent": 100})
    assert await read(client, 2) == ["A"]
    async with conn.transaction():
        await conn.execute("INSERT INTO users VALUES (1, now())")
        began = time.monotonic()
        first = asyncio.create_task(read(client, 1))
        while not await conn.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert not first.done()
        for _ in range(5):
            assert await read(client, 2) == ["A"]
        assert not first.done()
        assert time.monotonic() - began < REGISTER_TIMEOUT
        assert await first == ["A"]
