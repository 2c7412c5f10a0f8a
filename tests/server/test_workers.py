"""Several processes on one port: replaced when they end, stopped after their requests."""

import asyncio
import json
import signal
import socket
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
import pytest

from segsvc.db.pool import Connection
from tests import lock_waits
from tests.conftest import Databases, database_name
from tests.processes import TIMEOUT, all_workers, answers, run, serving, until


def post(url: str, path: str, body: object) -> int:
    request = Request(  # noqa: S310 (our own address)
        f"{url}/api/v1{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
        status: int = response.status
        return status


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_signal_stops_all(tmp_path: Path, number: signal.Signals) -> None:
    """A signal to the parent stops every worker, and the embedded PostgreSQL after them."""
    log = tmp_path / "log"
    with serving(log, data_dir=str(tmp_path), workers="3") as (url, process):
        workers = all_workers(process.pid, 3)
        assert post(url, "/segments", {"slug": "A"}) == 201
        process.send_signal(number)
        assert process.wait(TIMEOUT) in {0, 128 + number}
        assert psutil.wait_procs(workers, 0)[1] == []
        assert "3 workers" in log.read_text()
        assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_killed_worker_is_replaced(dsn: str) -> None:
    """After each kill of a worker there are as many again, and the service answers."""
    with serving(database_url=dsn, workers="2") as (url, process):
        for _ in range(3):
            victim, other = all_workers(process.pid, 2)
            victim.kill()
            victim.wait(TIMEOUT)
            assert all(answers(f"{url}/api/v1/users/1/segments") for _ in range(20))
            assert other in all_workers(process.pid, 2)


@pytest.mark.slow
async def test_requests_under_way_are_finished(dsn: str, conn: Connection) -> None:
    """A signal waits for the requests that were sent before it, and takes no new ones."""
    with serving(database_url=dsn, workers="2") as (url, process):
        workers = all_workers(process.pid, 2)
        assert await asyncio.to_thread(post, url, "/segments", {"slug": "A"}) == 201
        async with conn.transaction():
            await conn.execute("INSERT INTO users VALUES (1, now())")
            path = "/users/1/segments"
            slow = asyncio.create_task(asyncio.to_thread(post, url, path, {"add": ["A"]}))
            await lock_waits.state(conn)
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(until, lambda: not answers(f"{url}/healthz"))
            assert process.poll() is None
        assert await slow == 200
        assert await asyncio.to_thread(process.wait, TIMEOUT) == 0
        assert psutil.wait_procs(workers, 0)[1] == []


@pytest.mark.slow
def test_workers_do_not_outlive_their_parent(dsn: str) -> None:
    """When the parent is killed, the workers go, and the port is free."""
    with serving(database_url=dsn, workers="2") as (url, process):
        workers = all_workers(process.pid, 2)
        process.kill()
        assert psutil.wait_procs(workers, TIMEOUT)[1] == []
        assert not answers(f"{url}/healthz")


def test_port_taken(dsn: str) -> None:
    """A port that is taken is reported, also if it is taken by those who would share it."""
    for workers in ("1", "2"):
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            done = run("serve", database_url=dsn, port=port, workers=workers)
        assert done.returncode == 1
        assert f"127.0.0.1:{port}" in done.stderr
        assert "Traceback" not in done.stderr


async def test_wrong_schema(new_database: Databases) -> None:
    """On a schema that is not its own, the service says so once and stops."""
    done = run("serve", "--workers", "2", database_url=await new_database())
    assert done.returncode == 1
    assert done.stderr.count("segsvc migrate") == 1


@pytest.mark.slow
async def test_worker_that_cannot_start_is_tried_again(
    dsn: str, template: str, admin: Connection
) -> None:
    """A worker killed while the database is away is replaced when the database is back."""
    name = database_name(dsn)
    with serving(database_url=dsn, workers="2") as (url, process):
        workers = await asyncio.to_thread(all_workers, process.pid, 2)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        for worker in workers:
            worker.kill()
        await asyncio.to_thread(until, lambda: not answers(f"{url}/healthz"))
        await asyncio.sleep(1)
        assert process.poll() is None
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        await asyncio.to_thread(until, lambda: answers(f"{url}/api/v1/users/1/segments"))
