"""Readiness and metrics, as operators' tools see them."""

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import psutil
import pytest
from aiohttp.web import Application
from prometheus_client.parser import text_string_to_metric_families as parse
from prometheus_client.samples import Sample

from segsvc.db.pool import Connection
from segsvc.observability import metrics
from segsvc.observability.health import CHECK_INTERVAL, CHECK_TIMEOUT, READINESS
from tests import lock_waits
from tests.conftest import Client, database_name
from tests.processes import TIMEOUT, answers, serving

SEGMENTS = "/api/v1/segments"


def samples(text: str) -> list[Sample]:
    return [sample for family in parse(text) for sample in family.samples]


def value(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples that have these labels."""
    return sum(
        s.value for s in samples(text) if s.name == name and labels.items() <= s.labels.items()
    )


def read(url: str) -> str:
    with urlopen(url, timeout=TIMEOUT) as response:  # noqa: S310
        text: str = response.read().decode()
        return text


async def scrape(client: Client) -> str:
    response = await client.get("/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    return await response.text()


async def problem(client: Client) -> tuple[int, str]:
    response = await client.get("/readyz")
    return response.status, (await response.json()).get("type", "")


@contextmanager
def importing(url: str, slug: str) -> Iterator[socket.socket]:
    """Begin to send a file of members, and leave it at its first line."""
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), parts.port or 0), TIMEOUT) as sender:
        sender.sendall(
            f"POST {SEGMENTS}/{slug}/members/add HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
            "Content-Length: 4\r\n\r\n1\n".encode()
        )
        yield sender


async def test_requests_are_counted(client: Client) -> None:
    """Requests are counted by the template of their route, and no label holds an id or a slug."""
    before = await scrape(client)
    await client.post(SEGMENTS, json={"slug": "SECRET_PLAN"})
    for user in (1, 2, 3):
        await client.get(f"/api/v1/users/{user}/segments")
    await client.get(f"{SEGMENTS}/SECRET_PLAN")
    await client.get("/no/such/SECRET_PLAN")
    await client.request("PROPFIND", f"{SEGMENTS}/SECRET_PLAN")
    after = await scrape(client)
    for method, route, status, times in (
        ("GET", "/api/v1/users/{user_id}/segments", "200", 3),
        ("GET", "/api/v1/segments/{slug}", "200", 1),
        ("POST", SEGMENTS, "201", 1),
        ("unmatched", "unmatched", "404", 1),
        ("unmatched", "unmatched", "405", 1),
    ):
        counted = [
            value(
                text,
                "segsvc_request_duration_seconds_count",
                method=method,
                route=route,
                status=status,
            )
            for text in (before, after)
        ]
        assert counted[1] - counted[0] == times, route
    paths = {resource.canonical for resource in client.app.router.resources()} | {"unmatched"}
    for sample in samples(after):
        labels = dict(sample.labels)
        if sample.name.startswith("segsvc_"):
            assert labels.pop("route", "unmatched") in paths
            assert labels.pop("method", "GET") in {
                "GET",
                "HEAD",
                "POST",
                "PUT",
                "PATCH",
                "DELETE",
                "unmatched",
            }
            assert labels.pop("status", "200").isdigit()
            assert labels.keys() <= {"le", "kind"}
            assert labels.get("kind", "import") in {"export", "import"}


async def test_reads_pool_and_streams(client: Client) -> None:
    """Reads per query, connections in use, and imports under way are measured."""
    await client.post(SEGMENTS, json={"slug": "A"})
    before = await scrape(client)
    await client.post("/api/v1/users/segments", json={"user_ids": [1, 2, 3]})
    url = str(client.make_url("")).rstrip("/")
    with importing(url, "A") as sender:
        async with asyncio.timeout(TIMEOUT):
            while value(await scrape(client), "segsvc_streams_under_way", kind="import") != 1:
                pass
        sender.sendall(b"2\n")
        await asyncio.to_thread(sender.recv, 100)
    after = await scrape(client)
    assert value(after, "segsvc_streams_under_way", kind="import") == 0
    assert (
        value(after, "segsvc_reads_per_query_sum") - value(before, "segsvc_reads_per_query_sum")
        == 3
    )
    assert (
        value(after, "segsvc_reads_per_query_count") - value(before, "segsvc_reads_per_query_count")
        == 1
    )
    assert value(after, "segsvc_pool_connections_in_use") == 0
    assert value(after, "segsvc_pool_connections_limit") == 10


@pytest.mark.slow
async def test_workers_count_together(dsn: str) -> None:
    """Any worker shows the figures of all; of one that was killed what it counted stays."""
    with serving(database_url=dsn, workers="2") as (url, process):
        deadline = time.monotonic() + TIMEOUT
        while value(read(f"{url}/metrics"), "segsvc_pool_connections_limit") != 20:
            assert time.monotonic() < deadline
        for _ in range(20):
            assert answers(f"{url}/api/v1/users/1/segments")
        text = read(f"{url}/metrics")
        route = "/api/v1/users/{user_id}/segments"
        assert value(text, "segsvc_request_duration_seconds_count", route=route) == 20
        assert value(text, "segsvc_reads_per_query_sum") == 20
        assert value(text, "segsvc_database_up") == 1
        first, second = psutil.Process(process.pid).children()
        (folder,) = {worker.environ()[metrics.FOLDER] for worker in (first, second)}
        first.kill()
        first.wait(TIMEOUT)
        while len(psutil.Process(process.pid).children()) < 2 or not answers(f"{url}/readyz"):
            assert time.monotonic() < deadline
        while value(text := read(f"{url}/metrics"), "segsvc_pool_connections_limit") != 20:
            assert time.monotonic() < deadline
        assert value(text, "segsvc_request_duration_seconds_count", route=route) == 20
        files = await asyncio.to_thread(lambda: sorted(p.name for p in Path(folder).iterdir()))
        assert not [name for name in files if name.startswith("gauge") and f"_{first.pid}." in name]
    assert not await asyncio.to_thread(Path(folder).exists)


@pytest.fixture
async def away(admin: Connection, dsn: str) -> AsyncIterator[None]:
    """Take the database away until the test is over."""
    name = database_name(dsn)
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
    )
    await admin.execute(f"ALTER DATABASE {name} RENAME TO {name}_away")
    yield
    await admin.execute(f"ALTER DATABASE {name}_away RENAME TO {name}")


async def test_ready(client: Client) -> None:
    """With a database of the right schema the service is ready, and says that it is up."""
    assert await problem(client) == (200, "")
    assert value(await scrape(client), "segsvc_database_up") == 1


async def test_not_ready_without_the_database(client: Client, away: None) -> None:
    """Without the database the service is alive and not ready, and metrics say why."""
    del away
    assert await problem(client) == (503, "urn:segsvc:problem:database-unavailable")
    assert (await client.get("/healthz")).status == 200
    assert value(await scrape(client), "segsvc_database_up") == 0


async def test_not_ready_with_another_schema(client: Client, conn: Connection) -> None:
    """With the schema of a later version the service is not ready, and says which way to go."""
    assert await problem(client) == (200, "")
    await conn.execute("UPDATE _yoyo_migration SET migration_id = '9999.later'")
    await asyncio.sleep(CHECK_INTERVAL)
    assert await problem(client) == (503, "urn:segsvc:problem:wrong-schema")
    assert "9999.later" in (await (await client.get("/readyz")).json())["detail"]
    assert value(await scrape(client), "segsvc_database_up") == 1


async def test_readiness_is_asked_once_a_second(client: Client, conn: Connection) -> None:
    """A hundred probes at once are one question to the database, which has its time to answer."""
    asked = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE '%yoyo%' AND pid <> pg_backend_pid()
    """
    async with conn.transaction():
        await conn.execute("LOCK TABLE _yoyo_migration")
        app: Application = client.app
        began = time.monotonic()
        waiting = asyncio.gather(*(app[READINESS].status() for _ in range(100)))
        await asyncio.sleep(CHECK_TIMEOUT / 2)
        assert await conn.fetchval(asked) == 1
        problems = {status.problem for status in await waiting}
        assert {p and p.slug for p in problems} == {"database-unavailable"}
        assert time.monotonic() - began < CHECK_TIMEOUT + 1
        again = time.monotonic()
        assert (await app[READINESS].status()).problem
        assert time.monotonic() - again < 0.5  # known for a second, and not asked


async def test_requests_under_way_are_finished(dsn: str, conn: Connection) -> None:
    """On SIGTERM nothing new is taken, at once, and what is under way is answered."""
    with serving(database_url=dsn) as (url, process):
        async with conn.transaction():
            await conn.execute("LOCK TABLE segment")
            listing = asyncio.create_task(asyncio.to_thread(read, f"{url}{SEGMENTS}?limit=1"))
            await lock_waits.state(conn)
            process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + TIMEOUT
            while answers(f"{url}/readyz"):
                assert time.monotonic() < deadline
            assert process.poll() is None
        assert json.loads(await listing) == {"segments": [], "next": None}
        assert process.wait(TIMEOUT) == 0
