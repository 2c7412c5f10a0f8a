"""Revoking a key works beside a busy pool, in a request under way, and fails closed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp.pytest_plugin import AiohttpClient

from segsvc.app import create_app
from segsvc.auth import store
from segsvc.auth.keys import MAX_AGE
from segsvc.auth.roles import Role
from segsvc.db.outages import Faults
from segsvc.db.pool import Connection, session
from segsvc.settings import Limits
from tests import lock_waits
from tests.conftest import SECRET, Client
from tests.processes import TIMEOUT

USER = "/api/v1/users/1/segments"
ADD = "/api/v1/segments/A/members/add"


@pytest.fixture
async def headers(conn: Connection) -> dict[str, str]:
    key = await store.create(conn, "ann", Role.EDITOR)
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, dsn: str, headers: dict[str, str]) -> Client:
    client = await aiohttp_client(create_app(dsn, secret=SECRET, limits=Limits(pool=1)))
    response = await client.post("/api/v1/segments", json={"slug": "A"}, headers=headers)
    assert response.status == 201
    return client


@pytest.fixture
async def locker(dsn: str) -> AsyncIterator[Connection]:
    """Another session, which holds locks."""
    async with session(dsn) as conn:
        yield conn


async def test_busy_pool(
    client: Client, conn: Connection, locker: Connection, headers: dict[str, str]
) -> None:
    """While each connection of the pool waits, a revoked key is refused as soon as otherwise."""
    async with locker.transaction():
        await locker.execute("SELECT FROM segment FOR UPDATE")
        path = "/api/v1/segments/A"
        changing = client.patch(path, json={"percent": 5}, headers=headers)
        waiting = asyncio.create_task(changing)
        await lock_waits.state(conn)
        assert await store.revoke(conn, "ann")
        took = await until(client, headers, 401)
    assert took < MAX_AGE + 0.5
    assert (await waiting).status == 200


async def test_keys_cannot_be_read(
    client: Client,
    locker: Connection,
    headers: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A list that is older than the promise is not used: 503, said in the log and by a metric."""
    monkeypatch.setattr("segsvc.auth.keys.FAULTS", Faults())  # nothing was logged yet
    async with locker.transaction():
        await locker.execute("LOCK TABLE api_key")
        took = await until(client, headers, 503)
    assert MAX_AGE / 2 < took < 3 * MAX_AGE
    assert "the API keys cannot be read, requests are refused" in caplog.text
    await until(client, headers, 200)
    assert "segsvc_key_list_age_seconds" in await (await client.get("/metrics")).text()


@pytest.mark.parametrize("path", [USER, ADD])
async def test_request_under_way(
    client: Client, conn: Connection, headers: dict[str, str], path: str
) -> None:
    """A key that is revoked while its request arrives writes nothing any more."""
    arrived, go_on = asyncio.Event(), asyncio.Event()
    first, rest = (b"1", b"\n") if path == ADD else (b'{"add":', b' ["A"]}')

    async def slow() -> AsyncIterator[bytes]:
        yield first
        arrived.set()
        await go_on.wait()
        yield rest

    kind = {"Content-Type": "text/csv" if path == ADD else "application/json"}
    writing = asyncio.create_task(client.post(path, data=slow(), headers=headers | kind))
    await arrived.wait()
    assert await store.revoke(conn, "ann")
    await until(client, headers, 401)
    go_on.set()
    assert (await writing).status == 401
    assert await conn.fetchval("SELECT count(*) FROM membership") == 0


async def until(client: Client, headers: dict[str, str], status: int) -> float:
    """Wait until a read has this status; return how long it took, in seconds."""
    clock = asyncio.get_running_loop().time
    began = clock()
    async with asyncio.timeout(TIMEOUT):
        while (await client.get(USER, headers=headers)).status != status:
            pass
    return clock() - began
