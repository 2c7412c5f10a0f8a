"""What one key may use: users who become known, and requests under way."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import ClientResponse
from aiohttp.pytest_plugin import AiohttpClient

from segsvc.app import create_app
from segsvc.auth import store
from segsvc.auth.roles import Role
from segsvc.db.pool import Connection, session
from segsvc.settings import Limits
from tests import lock_waits
from tests.conftest import SECRET, Client

USERS = "/api/v1/users"
OFREP = "/ofrep/v1/evaluate/flags"

BOTH_WAIT = """
    SELECT count(*) = 2 FROM pg_stat_activity AS a
    WHERE a.datname = current_database() AND a.wait_event_type = 'Lock'
"""

Ask = Callable[[Client, int, dict[str, str]], Awaitable[ClientResponse]]


def get(path: str) -> Ask:
    return lambda client, user_id, headers: client.get(path.format(user_id), headers=headers)


def evaluate(path: str) -> Ask:
    return lambda client, user_id, headers: client.post(
        path, json={"context": {"targetingKey": str(user_id)}}, headers=headers
    )


QUESTIONS: dict[str, Ask] = {
    "segments": get(USERS + "/{}/segments"),
    "as of": get(USERS + "/{}/segments?at=2026-01-01T00:00:00Z"),
    "memberships": get(USERS + "/{}/memberships"),
    "history": get(USERS + "/{}/history"),
    "users": lambda client, user_id, headers: client.post(
        USERS + "/segments", json={"user_ids": [user_id]}, headers=headers
    ),
    "flag": evaluate(OFREP + "/A"),
    "flags": evaluate(OFREP),
}


@pytest.fixture
async def keys(conn: Connection) -> dict[str, dict[str, str]]:
    names = {name: await store.create(conn, name, Role.EDITOR) for name in ("ann", "bob")}
    return {name: {"Authorization": f"Bearer {key}"} for name, key in names.items()}


async def serve(aiohttp_client: AiohttpClient, dsn: str, limits: Limits) -> Client:
    return await aiohttp_client(create_app(dsn, secret=SECRET, limits=limits))


@pytest.mark.parametrize("name", QUESTIONS)
async def test_new_users(
    name: str,
    aiohttp_client: AiohttpClient,
    dsn: str,
    conn: Connection,
    keys: dict[str, dict[str, str]],
) -> None:
    """A key that asks about too many unknown users is told so, and these stay unknown."""
    client = await serve(aiohttp_client, dsn, Limits(new_users=1))
    await client.post("/api/v1/segments", json={"slug": "A"}, headers=keys["bob"])
    ask = QUESTIONS[name]
    responses = [await ask(client, user_id, keys["ann"]) for user_id in (1, 2, 3)]
    assert [response.status for response in responses].count(429) >= 1
    refused = next(response for response in responses if response.status == 429)
    assert refused.headers["Retry-After"] == "1"
    assert (await refused.json())["type"] == "urn:segsvc:problem:too-many-new-users"
    answered = [n for n, response in enumerate(responses, 1) if response.status == 200]
    assert [row[0] for row in await conn.fetch("SELECT id FROM users ORDER BY id")] == answered
    # Known users, other keys, and changes are not concerned.
    assert (await QUESTIONS["segments"](client, 1, keys["ann"])).status == 200
    assert (await ask(client, 4, keys["bob"])).status == 200
    for user_id in (5, 6, 7):
        path = f"{USERS}/{user_id}/segments"
        changed = await client.post(path, json={"add": ["A"]}, headers=keys["ann"])
        assert changed.status == 200
    async with asyncio.timeout(10):
        while (await ask(client, 8, keys["ann"])).status != 200:
            pass


async def test_known_users_cost_nothing(
    aiohttp_client: AiohttpClient, dsn: str, conn: Connection, keys: dict[str, dict[str, str]]
) -> None:
    """Questions about known users take nothing from the quota, however they are asked."""
    client = await serve(aiohttp_client, dsn, Limits(new_users=1))
    await conn.execute("INSERT INTO users SELECT n, now() FROM generate_series(1, 5) AS n")
    await client.post("/api/v1/segments", json={"slug": "A"}, headers=keys["bob"])
    for ask in QUESTIONS.values():
        for user_id in range(1, 6):
            assert (await ask(client, user_id, keys["ann"])).status == 200


async def test_requests_under_way(
    aiohttp_client: AiohttpClient, dsn: str, conn: Connection, keys: dict[str, dict[str, str]]
) -> None:
    """A key with as many requests under way as allowed is told so; other keys are served."""
    client = await serve(aiohttp_client, dsn, Limits(requests_per_key=2))
    await client.post("/api/v1/segments", json={"slug": "A"}, headers=keys["ann"])
    path = "/api/v1/segments/A"
    async with session(dsn) as monitor, conn.transaction():
        await conn.execute("SELECT FROM segment FOR UPDATE")
        changes = [
            asyncio.create_task(client.patch(path, json={"percent": n}, headers=keys["ann"]))
            for n in (1, 2)
        ]
        await lock_waits.state(monitor, BOTH_WAIT)
        refused = await client.get(path, headers=keys["ann"])
        assert refused.status == 429
        assert refused.headers["Retry-After"] == "1"
        assert (await refused.json())["type"] == "urn:segsvc:problem:too-many-requests"
        assert (await client.get(path, headers=keys["bob"])).status == 200
        assert (await client.get("/healthz", headers=keys["ann"])).status == 200
    assert {(await change).status for change in changes} == {200}
    assert (await client.get(path, headers=keys["ann"])).status == 200
