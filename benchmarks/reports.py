"""The report of a month: streamed whole, and small among much that is stored."""

import json
import time
from statistics import median
from urllib.request import Request, urlopen

import asyncpg
from programs import MILLION, ROUNDS, curl, database, peak_memory, psql, row, seconds, service, step

from segsvc.api.reports import store
from segsvc.api.reports.links import Report
from segsvc.api.reports.months import Month

FEBRUARY = Month(2024, 2)
HEADERS = {"Content-Type": "application/json"}

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


async def measure(server: str) -> None:
    load = LOAD.format(users=MILLION // 2, past=0, events=MILLION)
    million_events(await database(server, "million", load))
    small = await database(server, "small", LOAD.format(users=10_000, past=100_000, events=1_000))
    load = LOAD.format(users=MILLION // 2, past=5 * MILLION, events=1_000)
    await thousand_events(small, await database(server, "large", load))


def link(url: str, key: str = "") -> str:
    body = json.dumps({"period": str(FEBRUARY)}).encode()
    request = Request(f"{url}/api/v1/reports", body, HEADERS | {"Authorization": f"Bearer {key}"})  # noqa: S310
    with urlopen(request) as response:  # noqa: S310
        return str(json.load(response)["url"])


def million_events(dsn: str) -> None:
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
        for number in range(ROUNDS):
            step(f"round {number + 1} of {ROUNDS}: the report of a million events")
            bare.append(seconds(lambda: psql(dsn, copy)))
            ours.append(seconds(lambda: curl(address)))
        after = peak_memory(pid)
    row("report of a million events, events a second", f"{MILLION / median(ours):,.0f}")
    row("the same, to psql's COPY", f"{median(bare) / median(ours):.2f}", "0.8")
    row("peak memory of the service before and after, MB", f"{before:.0f}, {after:.0f}")


async def thousand_events(small: str, large: str) -> None:
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
    row("month of a thousand events at 100 thousand periods, ms", f"{few * 1000:.0f}")
    row("the same at 5 million periods, ms", f"{many * 1000:.0f}")
    row("the second to the first", f"{many / few:.2f}", "under 1.3")
