"""Present segments through HTTP: many reads at once, and users read for the first time."""

import asyncio
import importlib
import time
from pathlib import Path

import pytest
from aiohttp.pytest_plugin import AiohttpClient

from segsvc.api.users.schemas import USER_SEGMENTS
from segsvc.api.users.store import REGISTER_TIMEOUT
from segsvc.db.pool import Connection
from segsvc.http.responses import json_response
from tests import lock_waits
from tests.api_calls import change, create, read
from tests.conftest import Client


async def test_each_reader_gets_their_own(client: Client) -> None:
    """Of many reads at once each is answered with the segments of its user."""
    for slug in ("ODD", "EVEN"):
        await create(client, slug)
    of = {user_id: ["ODD"] if user_id % 2 else ["EVEN"] for user_id in range(1, 101)}
    for user_id, slugs in of.items():
        await change(client, user_id, add=slugs)
    asked = [*of, *of]
    assert await asyncio.gather(*(read(client, u) for u in asked)) == [of[u] for u in asked]


async def test_write_is_read_at_once(client: Client) -> None:
    """While others read the same user, who has written reads what was written."""
    await create(client, "A")
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            await read(client, 1)

    watchers = [asyncio.create_task(watch()) for _ in range(8)]
    for n in range(50):
        await change(client, 1, **{"remove" if n % 2 else "add": ["A"]})
        assert await read(client, 1) == ([] if n % 2 else ["A"])
    done.set()
    await asyncio.gather(*watchers)


async def test_noting_a_user_holds_up_nobody_else(client: Client, conn: Connection) -> None:
    """While a new user cannot be registered, the reads of others go on."""
    await create(client, "A", 100)
    assert await read(client, 2) == ["A"]
    async with conn.transaction():
        await conn.execute("INSERT INTO users VALUES (1, now())")
        began = time.monotonic()
        first = asyncio.create_task(read(client, 1))
        await lock_waits.state(conn)
        for _ in range(5):
            assert await read(client, 2) == ["A"]
        assert not first.done()
        assert time.monotonic() - began < REGISTER_TIMEOUT
        assert await first == ["A"]


async def test_hot_read_has_the_bytes_of_its_schema(client: Client) -> None:
    """The body that the hot read builds itself is the one that its schema gives."""
    for slug in ("A", "B-2", "c_3"):
        await create(client, slug)
    for slugs in ([], ["A"], ["A", "B-2", "c_3"]):
        if slugs:
            await change(client, 7, add=slugs)
        response = await client.get("/api/v1/users/7/segments")
        dumped = json_response(USER_SEGMENTS, {"user_id": 7, "segments": slugs})
        assert await response.read() == dumped.body
        assert response.headers["Content-Type"] == dumped.headers["Content-Type"]


async def test_minimal_handler_has_the_same_bytes(
    client: Client, dsn: str, aiohttp_client: AiohttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler that the benchmark compares with answers what the service answers."""
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "benchmarks")
    minimal = importlib.import_module("minimal")
    other = await aiohttp_client(await minimal.application(dsn))
    for slug, percent in (("A", None), ("B-2", None), ("c_3", 50)):
        await create(client, slug, percent)
    await change(client, 7, add=["A", "B-2"])
    paths = [f"/api/v1/users/{user_id}/segments" for user_id in range(1, 40)]
    ours = await asyncio.gather(*(client.get(path) for path in paths))
    theirs = await asyncio.gather(*(other.get(path) for path in paths))
    for one, two in zip(ours, theirs, strict=True):
        assert await one.read() == await two.read()
        assert one.headers["Content-Type"] == two.headers["Content-Type"]
