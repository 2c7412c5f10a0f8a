"""Limits: what is over them is refused clearly, and nobody else suffers from it."""

import asyncio
from contextlib import AsyncExitStack

import asyncpg
from aiohttp import ClientResponse, ClientSession
from aiohttp.pytest_plugin import AiohttpClient

from segsvc.api.users.writes import WRITES
from segsvc.app import create_app
from segsvc.http.app_keys import LARGE_READS
from segsvc.settings import Limits
from tests.conftest import SECRET, Client
from tests.processes import TIMEOUT, serving

SEGMENTS = "/api/v1/segments"


async def limited(aiohttp_client: AiohttpClient, dsn: str, limits: Limits) -> Client:
    return await aiohttp_client(create_app(dsn, secret=SECRET, anonymous=True, limits=limits))


async def test_sizes(aiohttp_client: AiohttpClient, dsn: str) -> None:
    """Bodies, lists and pages over the operator's limits are refused with the limit."""
    client = await limited(aiohttp_client, dsn, Limits(body=1024, items=2, page=3))
    for method, path, body, status, word in (
        ("POST", SEGMENTS, {"slug": "A", "description": "x" * 1000}, 413, "1024"),
        ("POST", "/api/v1/users/segments", {"user_ids": [1, 2, 3]}, 422, "at most 2"),
        ("POST", "/api/v1/users/1/segments", {"add": ["A", "B", "C"]}, 422, "at most 2"),
        ("GET", f"{SEGMENTS}?limit=4", None, 422, "1 to 3"),
    ):
        response = await client.request(method, path, json=body)
        assert response.status == status
        assert word in await response.text()
    for n in range(4):
        await client.post(SEGMENTS, json={"slug": f"S{n}"})
    page = await (await client.get(SEGMENTS)).json()
    assert len(page["segments"]) == 3


async def test_slow_statement_is_given_up(aiohttp_client: AiohttpClient, dsn: str) -> None:
    """A request that waits in the database for longer than allowed is answered 503."""
    client = await limited(aiohttp_client, dsn, Limits(statement_seconds=1))
    await client.post(SEGMENTS, json={"slug": "A"})
    other = await asyncpg.connect(dsn)
    async with other.transaction():
        await other.execute("INSERT INTO users VALUES (1, now())")
        response = await client.post("/api/v1/users/1/segments", json={"add": ["A"]})
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
    await other.close()
    assert (await client.post("/api/v1/users/1/segments", json={"add": ["A"]})).status == 200


async def test_overload_is_shed(aiohttp_client: AiohttpClient, dsn: str) -> None:
    """When too many wait for the database the next are told to come back, and reads go on."""
    client = await limited(aiohttp_client, dsn, Limits(pool=2, waiting=3))
    await client.post(SEGMENTS, json={"slug": "A"})
    assert client.app
    alone = client.app[WRITES].alone
    other = await asyncpg.connect(dsn)
    async with other.transaction():
        await other.execute("INSERT INTO users VALUES (1, now())")
        path = "/api/v1/users/1/segments"
        writes = [asyncio.create_task(client.post(path, json={"add": ["A"]})) for _ in range(4)]
        async with asyncio.timeout(TIMEOUT):
            while alone.asking < 4:  # noqa: ASYNC110 (one that is under way, and three)
                await asyncio.sleep(0)
        shed = await client.post(path, json={"add": ["A"]})
        assert shed.status == 503
        assert shed.headers["Retry-After"] == "10"
        assert (await shed.json())["type"] == "urn:segsvc:problem:busy"
        for user_id in range(2, 12):
            response = await client.get(f"/api/v1/users/{user_id}/segments")
            assert response.status == 200
        assert (await client.get("/readyz")).status == 200
    assert {(await write).status for write in writes} == {200}
    await other.close()


async def test_large_reads_take_turns(aiohttp_client: AiohttpClient, dsn: str) -> None:
    """Reads of many users wait for each other, the next ones are shed, and hot reads go on."""
    client = await limited(aiohttp_client, dsn, Limits(waiting=2))
    assert client.app
    turns = client.app[LARGE_READS]
    path, body = "/api/v1/users/segments", {"user_ids": [1, 2]}
    async with turns.take():
        waiting = [asyncio.create_task(client.post(path, json=body)) for _ in range(2)]
        async with asyncio.timeout(TIMEOUT):
            while turns.asking < 3:  # noqa: ASYNC110
                await asyncio.sleep(0)
        shed = await client.post(path, json=body)
        assert shed.status == 503
        assert (await shed.json())["type"] == "urn:segsvc:problem:busy"
        assert (await client.get("/api/v1/users/1/segments")).status == 200
    assert {(await each).status for each in waiting} == {200}
    assert (await client.post(path, json=body)).status == 200


async def test_connections(dsn: str) -> None:
    """Connections above the limit get 503 with Retry-After; those below it are served."""
    with serving(database_url=dsn, workers="1", max_connections="3") as (url, _):
        async with AsyncExitStack() as inside:
            clients: list[ClientSession] = []

            async def ask(client: ClientSession) -> ClientResponse:
                response = await client.get(f"{url}/healthz")
                await response.read()
                return response

            async with asyncio.timeout(TIMEOUT):
                while len(clients) < 3:  # the probe of the start may not have left yet
                    client = await inside.enter_async_context(ClientSession())
                    if (await ask(client)).status == 200:
                        clients.append(client)
            async with ClientSession() as another:
                refused = await ask(another)
                assert refused.status == 503
                assert refused.headers["Retry-After"] == "10"
                assert (await refused.json())["type"] == "urn:segsvc:problem:busy"
            assert [(await ask(client)).status for client in clients] == [200] * 3
        async with ClientSession() as another, asyncio.timeout(TIMEOUT):
            while (await ask(another)).status != 200:
                pass


async def test_other_origins(aiohttp_client: AiohttpClient, dsn: str) -> None:
    """Pages of other origins are let in by name only, preflights and problems included."""
    ours, theirs = "https://a.example.com", "https://b.example.com"
    app = create_app(dsn, secret=SECRET, anonymous=True, origins=frozenset({ours}))
    client = await aiohttp_client(app)
    preflight = {"Access-Control-Request-Method": "PATCH"}
    for path, method, extra, status in (
        (SEGMENTS, "OPTIONS", preflight, 204),
        (SEGMENTS, "GET", {}, 200),
        (f"{SEGMENTS}/NONE", "GET", {}, 404),
    ):
        for origin in (ours, theirs):
            response = await client.request(method, path, headers={"Origin": origin} | extra)
            assert response.status == status
            allowed = response.headers.get("Access-Control-Allow-Origin")
            assert allowed == (ours if origin == ours else None)
            assert "Origin" in response.headers["Vary"]


async def test_no_other_origins_by_default(client: Client) -> None:
    """Without the setting no answer mentions origins."""
    response = await client.get(SEGMENTS, headers={"Origin": "https://a.example.com"})
    assert not [name for name in response.headers if name.startswith("Access-Control")]
    headers = {"Origin": "https://a.example.com", "Access-Control-Request-Method": "GET"}
    assert (await client.options(SEGMENTS, headers=headers)).status == 405


async def test_headers(client: Client) -> None:
    """Every answer forbids guessing its type and keeping it, and says no version of anything."""
    await client.post(SEGMENTS, json={"slug": "A"})
    for path, accept in (
        ("/api/v1/users/1/segments", "*/*"),
        (f"{SEGMENTS}/A/members", "text/csv"),
        (f"{SEGMENTS}/NONE", "*/*"),
        ("/none", "*/*"),
        ("/healthz", "*/*"),
    ):
        headers = (await client.get(path, headers={"Accept": accept})).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "no-store" in headers["Cache-Control"]
        assert headers["Server"] == "segsvc"
        assert headers["X-Request-ID"]
