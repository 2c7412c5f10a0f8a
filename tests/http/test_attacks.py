"""Bodies that are small and cost much: they are refused, and nobody else waits for them."""

import asyncio
import gzip
import io
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from aiohttp.pytest_plugin import AiohttpClient

from segsvc.app import create_app
from segsvc.db.pool import Connection
from segsvc.settings import Limits
from tests.api_calls import create
from tests.conftest import SECRET, Client
from tests.event_loop import loop_is_given_back, short_collections

CSV = {"Content-Type": "text/csv"}
GZIP = {"Content-Encoding": "gzip"}
ADD = "/api/v1/segments/A/members/add"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _short_collections() -> Iterator[None]:
    with short_collections():
        yield


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, dsn: str) -> Client:
    limits = Limits(import_lines=100_000, import_bytes=2**26)
    client = await aiohttp_client(create_app(dsn, secret=SECRET, anonymous=True, limits=limits))
    await create(client, "A")
    return client


def bomb(line: bytes, times: int) -> bytes:
    """Return so many lines, compressed."""
    compressor = zlib.compressobj(9, wbits=31)
    part = line * 10_000
    parts = [compressor.compress(part) for _ in range(times // 10_000)]
    return b"".join([*parts, compressor.flush()])


EMPTY = gzip.compress(b"", mtime=0)
HEADER = gzip.compress(b"user_id,name\n", mtime=0)
BOMBS: dict[str, tuple[Callable[[], bytes], int]] = {
    "line feeds": (lambda: bomb(b"\n", 20_000_000), 413),
    "quoted ids": (lambda: bomb(b'"1"\n', 1_000_000), 413),
    "wide lines": (lambda: HEADER + bomb(b"1,\n", 1_000_000), 413),
    "wide lines with quotes": (lambda: HEADER + bomb(b'1,"x"\n', 1_000_000), 413),
    "carriage returns": (lambda: bomb(b"\r", 20_000_000), 413),
    "separators": (lambda: HEADER + bomb(b",\n", 1_000_000), 413),
    "blanks": (lambda: bomb(b" ", 20_000_000), 422),
    "digits": (lambda: bomb(b"1", 20_000_000), 422),
    "ids": (lambda: bomb(b"1\n", 1_000_000), 413),
    "utf-16": (lambda: gzip.compress(b"\xff\xfe", mtime=0) + bomb(b"\n\0", 10_000_000), 413),
    "empty members": (lambda: EMPTY * 120_000, 413),
    "gzip in gzip": (lambda: gzip.compress(bomb(b"\n", 20_000_000)), 413),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_files(client: Client, name: str) -> None:
    """A small file that becomes a large one is refused, and the loop is given back meanwhile."""
    make, status = BOMBS[name]
    body = make()
    async with loop_is_given_back():
        response = await client.post(ADD, data=io.BytesIO(body), headers=CSV | GZIP)
    assert response.status == status, await response.text()


@pytest.mark.parametrize("name", ["line feeds", "empty members", "ids"])
async def test_undeclared_gzip(client: Client, name: str) -> None:
    """The same holds for gzip that is found by its first bytes."""
    make, status = BOMBS[name]
    body = make()
    async with loop_is_given_back():
        response = await client.post(ADD, data=io.BytesIO(body), headers=CSV)
    assert response.status == status, await response.text()


@pytest.mark.parametrize(
    "body",
    [EMPTY * 100_000, bomb(b"[", 1_000_000), b"[" * 300_000],
    ids=["members", "gzip", "plain"],
)
async def test_bodies_of_readers(client: Client, body: bytes) -> None:
    """A body of JSON is limited as it is sent and as it is decoded."""
    headers = {"Content-Type": "application/json"} | (GZIP if body[:2] == EMPTY[:2] else {})
    async with loop_is_given_back():
        response = await client.post(
            "/api/v1/users/segments", data=io.BytesIO(body), headers=headers
        )
    assert response.status == 413


async def test_large_requests_and_answers(client: Client, conn: Connection) -> None:
    """What is valid and large, or wrong in many places, does not keep the loop either."""
    await conn.execute("""
        INSERT INTO segment (slug, description, created_at)
        SELECT 'S' || n, '', '2024-01-01' FROM generate_series(1, 200) AS n;
        INSERT INTO users SELECT n, '2024-01-01' FROM generate_series(1, 1000) AS n;
        INSERT INTO membership (user_id, segment_id, included, valid_from)
        SELECT u.id, s.id, TRUE, '2024-02-02' FROM users AS u CROSS JOIN segment AS s;
    """)
    users = "/api/v1/users"
    wrong = [{"slug": f"A{n}", "ttl": -1, "until": 1} for n in range(1000)]
    for method, path, body, status in (
        ("POST", f"{users}/segments", {"user_ids": list(range(1, 1001))}, 200),
        ("POST", f"{users}/1/segments", {"add": [f"S{n}" for n in range(1, 201)]}, 200),
        ("POST", f"{users}/1/segments", {"add": wrong}, 422),
        ("POST", f"{users}/1/segments", {f"{n:x}": 1 for n in range(18_000)}, 413),
        ("POST", f"{users}/1/segments", {f"{n:x}": 1 for n in range(12_000)}, 422),
        ("POST", f"{users}/1/segments", {"add": [{f"{n:x}": 1 for n in range(12_000)}]}, 422),
        ("POST", "/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "1"}}, 200),
        ("GET", f"{users}/1/history?limit=1000", None, 200),
        ("GET", f"{users}/1/memberships", None, 200),
        ("GET", "/api/v1/segments/S1/members?limit=1000", None, 200),
        ("GET", "/api/v1/segments?" + "&".join(f"{n:x}=" for n in range(1500)), None, 422),
    ):
        data = None if body is None else io.BytesIO(json.dumps(body).encode())
        async with loop_is_given_back():
            response = await client.request(
                method, path, data=data, headers={"Content-Type": "application/json"}
            )
        assert response.status == status, path


async def test_client_that_left_ends_the_work(client: Client) -> None:
    """When the client is gone, its file is not decoded to the end, and its slot is free."""
    body = bomb(b"\n", 50_000_000)
    for _ in range(4):  # there are two slots
        sending = asyncio.create_task(client.post(ADD, data=io.BytesIO(body), headers=CSV | GZIP))
        await asyncio.sleep(0.05)
        sending.cancel()
        await asyncio.wait([sending])
        await asyncio.sleep(0.05)
    response = await client.post(ADD, data=b"1\n", headers=CSV)
    assert response.status == 200


async def test_least_rate(aiohttp_client: AiohttpClient, dsn: str) -> None:
    """A body that drips is refused, though each byte comes before a stall is noticed."""
    app = create_app(dsn, secret=SECRET, anonymous=True, limits=Limits(stall_seconds=1))
    client = await aiohttp_client(app)
    await create(client, "A")

    async def dripping() -> AsyncIterator[bytes]:
        while True:
            yield b"1\n"
            await asyncio.sleep(0.2)

    began = time.monotonic()
    for path, headers in (
        (ADD, CSV),
        ("/api/v1/users/segments", {"Content-Type": "application/json"}),
    ):
        response = await client.post(path, data=dripping(), headers=headers)
        assert response.status == 408
    assert time.monotonic() - began < 10
