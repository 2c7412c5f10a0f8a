"""The report of a month: streamed whole, and small among much that is stored."""

import json
import time
from statistics import median
from urllib.request import Request, urlopen

import asyncpg
from programs import ROUNDS, Row, curl, database, peak_memory, psql, seconds, service

from segsvc.api.reports import store
from segsvc.api.reports.links import Report
from segsvc.api.reports.months import Month

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


async def measure(server: str) -> list[Row]:
    million = await database(
        server, "million", LOAD.format(users=500_000, past=0, events=1_000_000)
    )
    rows = million_events(million)
    small = await database(server, "small", LOAD.format(users=10_000, past=100_000, events=1_000))
    large = await database(
        server, "large", LOAD.format(users=500_000, past=5_000_000, events=1_000)
    )
    return rows + await thousand_events(small, large)


def link(url: str) -> str:
    body = json.dumps({"period": str(FEBRUARY)}).encode()
    request = Request(f"{url}/api/v1/reports", body, {"Content-Type": "application/json"})  # noqa: S310
    with urlopen(request) as response:  # noqa: S310
        return str(json.load(response)["url"])


def million_events(dsn: str) -> list[Row]:
    """The report of a million events through HTTP, against psql with the same statement."""
    literals = {"$1": f"'{FEBRUARY.start}'", "$2": f"'{FEBRUARY.end}'"}
    query = store.COPY_MONTH
    for parameter, literal in literals.items():
        query = query.replace(parameter, literal)
    copy = f"COPY ({query}) TO STDOUT (FORMAT csv, DELIMITER ';')"
    ours, bare = [], []
    with service(dsn, 8190, workers=1) as (url, pid):
        address = link(url)
        before = peak_memory(pid)
        for _ in range(ROUNDS):
            bare.append(seconds(lambda: psql(dsn, copy)))
            ours.append(seconds(lambda: curl(address)))
        after = peak_memory(pid)
    return [
        ("report of a million events, events a second", f"{1e6 / median(ours):,.0f}", ""),
        ("the same, to psql's COPY", f"{median(bare) / median(ours):.2f}", "0.8"),
        ("peak memory of the service before and after, MB", f"{before:.0f}, {after:.0f}", ""),
    ]


async def thousand_events(small: str, large: str) -> list[Row]:
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
