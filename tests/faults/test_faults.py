"""Faults under load: nothing acknowledged is lost, nothing half done is there, and it goes on.

What they did and what was found is printed: `pytest -s tests/faults`.
"""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import asyncpg
import pytest
from aiohttp import ClientError, ClientSession

from segsvc.api.members.store import CHANGE, REGISTER
from segsvc.api.reports import links
from segsvc.api.reports.months import Month
from segsvc.db import migrations
from segsvc.db import pool as database
from segsvc.db.pool import Connection
from segsvc.maintenance import check as checks
from tests import lock_waits
from tests.conftest import database_name, database_url
from tests.faults.durable import Postgres, durable_postgres, kill_all
from tests.faults.ledger import now
from tests.faults.load import USERS, Load
from tests.processes import TIMEOUT, all_workers, free_port, serving

pytestmark = pytest.mark.slow

WORKERS = 2
SECRET = "a secret of the service"  # noqa: S105
CSV = {"Content-Type": "text/csv"}


@pytest.fixture(scope="module")
async def postgres(admin: Connection) -> AsyncIterator[Postgres]:
    """A durable server of the same version as the others."""
    binaries = await admin.fetchval("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
    with durable_postgres(Path(binaries)) as server:
        yield server


@pytest.fixture
async def dsn(postgres: Postgres) -> AsyncIterator[str]:
    async with connected(postgres.url) as conn:
        await conn.execute("CREATE DATABASE faults")
    url = database_url(postgres.url, "faults")
    await asyncio.to_thread(migrations.migrate, url)
    yield url
    async with connected(postgres.url) as conn:
        await conn.execute("DROP DATABASE faults WITH (FORCE)")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    conn = await asyncpg.connect(url)
    try:
        yield conn
    finally:
        conn.terminate()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """Where the services write; no error in it is one of their own making."""
    yield tmp_path / "log"
    assert '"exception"' not in (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()


@contextmanager
def served(dsn: str, log: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    settings = {"database_url": dsn, "secret": SECRET, "workers": str(WORKERS)}
    with serving(log, port=str(port), **settings) as (_, process):
        all_workers(process.pid, WORKERS)
        yield process


async def nothing_is_lost(dsn: str, load: Load, faults: str, pauses: list[float]) -> None:
    """Hold the database against the ledger of `load` and against the promises of the design."""
    async with database.session(dsn) as conn:  # as `segsvc check` does
        findings = await load.ledger.compare(conn)
        wrong = findings.wrong + await checks.structure(conn)
        async for _, found in checks.replay(conn):
            wrong += found
    longest = f"; answered again after {max(pauses):.1f} s at most" if pauses else ""
    print(f"\n{faults}: {load}; {findings}{longest}")  # noqa: T201
    assert load.wrong == []
    assert wrong == []
    assert findings.found == findings.acknowledged > 0


async def test_postgres_is_killed(postgres: Postgres, dsn: str, log: Path) -> None:
    """PostgreSQL dies with all its processes and comes back: no acknowledged write is lost."""
    port, killed = free_port(), 0
    pauses = []
    with served(dsn, log, port):
        async with Load(f"http://127.0.0.1:{port}") as load:
            for _ in range(3):
                await load.more(100, "write")
                killed += await asyncio.to_thread(postgres.kill)
                await load.more(20, "read answered 503")
                await asyncio.to_thread(postgres.start)
                pauses.append(await load.all_answered())
    faults = f"PostgreSQL killed 3 times ({killed} processes)"
    await nothing_is_lost(dsn, load, faults, pauses)


async def test_worker_is_killed(dsn: str, log: Path) -> None:
    """Workers die one after another: each is replaced, and the parent and the port stay."""
    port, pauses = free_port(), []
    with served(dsn, log, port) as parent:
        async with Load(f"http://127.0.0.1:{port}") as load:
            for n in range(4):
                workers = await asyncio.to_thread(all_workers, parent.pid, WORKERS)
                victim, other = workers[n % 2], workers[1 - n % 2]
                victim.kill()
                await asyncio.to_thread(victim.wait, TIMEOUT)
                pauses.append(await load.all_answered())
                assert other in await asyncio.to_thread(all_workers, parent.pid, WORKERS)
        assert parent.poll() is None
    await nothing_is_lost(dsn, load, "a worker killed 4 times", pauses)


async def test_connections_are_cut(dsn: str, log: Path) -> None:
    """All connections to the database are cut again and again: others take their place."""
    port, cut = free_port(), 0
    with served(dsn, log, port):
        async with Load(f"http://127.0.0.1:{port}") as load, connected(dsn) as conn:
            for _ in range(25):
                cut += await cut_connections(conn)
                await load.more(20, "write")
            pause = await load.all_answered()
    await nothing_is_lost(dsn, load, f"connections cut 25 times ({cut} of them)", [pause])


async def cut_connections(conn: Connection) -> int:
    """Cut all other connections to the database; return how many."""
    cut: int = await conn.fetchval("""
        SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """)
    return cut


async def test_database_is_read_only(dsn: str, log: Path) -> None:
    """A database that takes no writes goes on being read, and takes writes again by itself."""
    port, pauses = free_port(), []
    read_only = f"ALTER DATABASE {database_name(dsn)} SET default_transaction_read_only = on"
    writable = f"ALTER DATABASE {database_name(dsn)} RESET default_transaction_read_only"
    with served(dsn, log, port):
        async with Load(f"http://127.0.0.1:{port}") as load, connected(dsn) as conn:
            for _ in range(3):
                await conn.execute(read_only)
                await cut_connections(conn)
                await load.more(100, "write answered 503")
                await load.more(100, "read")
                await conn.execute(writable)
                pauses.append(await load.all_answered())
    await nothing_is_lost(dsn, load, "PostgreSQL read-only 3 times", pauses)


MANY = 20_000
AUDIENCE = "".join(f"{user_id}\n" for user_id in range(1, MANY + 1)).encode()


async def test_service_is_killed(dsn: str, log: Path) -> None:
    """The whole service dies in imports and single writes: a file is in it whole or not at all."""
    port = free_port()
    pauses: list[float] = []
    url = f"http://127.0.0.1:{port}"

    async def send(*, whole: bool) -> int | None:
        """Send the file, or half of it; return how many it changed, None without an answer."""

        async def pieces() -> AsyncIterator[bytes]:
            yield AUDIENCE if whole else AUDIENCE[: MANY // 2]
            if not whole:
                await asyncio.Event().wait()

        path = "/api/v1/segments/IMPORTED/members/add"
        try:
            async with session.post(path, data=pieces(), headers=CSV) as response:
                changed: int = (await response.json())["changed"]
                return changed
        except ClientError:
            return None

    async def reach(statement: str) -> None:
        """Wait until a statement of the import runs."""
        running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE $1"
        await lock_waits.state(conn, running, f"{statement}%")

    async def imported() -> tuple[int, int]:
        """Return how many are in by the file, and how many are known by nothing else."""
        of_file = "SELECT count(*) FROM membership JOIN segment ON id = segment_id WHERE slug = $1"
        strangers = "SELECT count(*) FROM users WHERE id > $1"
        return await conn.fetchval(of_file, "IMPORTED"), await conn.fetchval(strangers, USERS)

    async def kill_and_start(service: subprocess.Popen[str]) -> subprocess.Popen[str]:
        await asyncio.to_thread(kill_all, service.pid)
        since = time.monotonic()
        started = await asyncio.to_thread(services.enter_context, served(dsn, log, port))
        await load.all_answered()
        pauses.append(time.monotonic() - since)
        return started

    async with connected(dsn) as conn, ClientSession(url) as session:
        with ExitStack() as services:
            service = services.enter_context(served(dsn, log, port))
            async with Load(url) as load:
                await session.post("/api/v1/segments", json={"slug": "IMPORTED"})
                for whole, statement in ((False, "COPY"), (True, CHANGE), (True, REGISTER)):
                    sending = asyncio.create_task(send(whole=whole))
                    await reach(statement[:100])
                    service = await kill_and_start(service)
                    assert await sending is None
                    assert await imported() == (0, 0)
                assert await send(whole=True) == MANY
                await kill_and_start(service)
                assert await imported() == (MANY, MANY - USERS)
    faults = f"the service killed {len(pauses)} times in imports of {MANY}"
    await nothing_is_lost(dsn, load, faults, pauses)


@pytest.mark.parametrize("hours", [-80, 80])
async def test_clock_is_off(
    dsn: str, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """The clock of the service is hours off: every time and every end is by the database's."""
    (tmp_path / "sitecustomize.py").write_text(f"""
from datetime import UTC, datetime, timedelta
import time_machine
time_machine.travel(datetime.now(UTC) + timedelta(hours={hours}), tick=True).start()
""")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    port = free_port()
    with served(dsn, log, port):
        url = f"http://127.0.0.1:{port}"
        async with Load(url) as load, connected(dsn) as conn, ClientSession(url) as session:
            response = await session.get("/healthz")
            off = parsedate_to_datetime(response.headers["Date"]) - now()
            assert abs(off - timedelta(hours=hours)) < timedelta(minutes=1)
            await expiry_is_by_the_database(session, conn)
            await link_is_by_the_database(session)
            await load.all_answered()
    await nothing_is_lost(dsn, load, f"the clock of the service {hours:+} hours off", [])


async def expiry_is_by_the_database(session: ClientSession, conn: Connection) -> None:
    """Check that an end is in the future or not, and comes, by the clock of the database."""
    path = "/api/v1/users/5000/segments"
    await session.post("/api/v1/segments", json={"slug": "TIMED"})
    for minutes, status in ((-5, 422), (5, 200)):
        end = (now() + timedelta(minutes=minutes)).isoformat()
        response = await session.post(path, json={"add": ["TIMED"], "expires_at": end})
        assert response.status == status
    response = await session.post(path, json={"add": ["TIMED"], "ttl": 1})
    assert "TIMED" in (await response.json())["segments"]
    async with asyncio.timeout(TIMEOUT):
        while "TIMED" in (await (await session.get(path)).json())["segments"]:
            pass
    end = await conn.fetchval("SELECT valid_to FROM membership WHERE user_id = 5000")
    assert timedelta() <= now() - end < timedelta(seconds=TIMEOUT)
    events = (await (await session.get("/api/v1/users/5000/history")).json())["events"]
    assert datetime.fromisoformat(events[-1]["at"]) == end


async def link_is_by_the_database(session: ClientSession) -> None:
    """Check that a link to a report is good for a day of the database's."""
    month = Month.parse(f"{now():%Y-%m}")
    response = await session.post("/api/v1/reports", json={"period": str(month)})
    made = await response.json()
    life = datetime.fromisoformat(made["expires_at"]) - now()
    assert abs(life - links.LIFETIME) < timedelta(seconds=TIMEOUT)
    assert (await session.get(made["url"])).status == 200
    for ago, status in ((timedelta(minutes=1), 403), (timedelta(minutes=-1), 200)):
        link = links.sign(links.Report(month, None), now() - ago, SECRET)
        assert (await session.get(f"/api/v1/reports/{link}")).status == status
