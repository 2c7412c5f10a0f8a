"""The feed: how fast it is read, how soon a write arrives, and what waiting followers cost."""

import asyncio
import json
import time
from functools import partial
from statistics import median, quantiles
from urllib.parse import urlencode

import reads
from aiohttp import ClientSession
from programs import (
    MILLION,
    ROUNDS,
    Target,
    curl,
    database,
    medians,
    psql,
    row,
    seconds,
    step,
    with_key,
    wrk,
)

EVENTS = MILLION // 2
FOLLOWERS = 10
WRITES = 50

# What the read load needs, then periods that begin and end at different times.
LOAD = (
    reads.LOAD.format(users=MILLION // 10, automatic=0, past=0)
    + """
    ;
    INSERT INTO segment (slug, description, created_at) VALUES ('FED', '', '2020-01-01');
    INSERT INTO membership (user_id, segment_id, included, valid_from, valid_to)
    SELECT
        1 + n % {users}, 11, TRUE, timestamptz '2024-02-02' + n * interval '1 second',
        timestamptz '2024-02-02' + n * interval '1 second' + interval '500 ms'
    FROM generate_series(1, {periods}) AS n
"""
)

ROWS = """
    SELECT m.valid_from AS at, m.segment_id, m.user_id, 'add' FROM membership AS m
    WHERE m.segment_id = 11
    UNION ALL
    SELECT m.valid_to AS at, m.segment_id, m.user_id, 'remove' FROM membership AS m
    WHERE m.segment_id = 11
    ORDER BY at, segment_id, user_id
"""


async def measure(server: str, postmaster: int) -> None:
    """Read all events, then follow writes, then read users beside followers who wait."""
    load = LOAD.format(users=MILLION // 10, periods=EVENTS // 2)
    dsn = await database(server, "feed", load)
    with with_key(dsn, 8195, MILLION // 10) as target:
        path = f"{target.url}/api/v1/segments/FED/events"
        lines = ("-H", f"Authorization: Bearer {target.key}", "-H", "Accept: application/x-ndjson")
        copied, paged, streamed = [], [], []
        for number in range(min(ROUNDS, 3)):
            step(f"round {number + 1}: {EVENTS:,} events by COPY, in pages, as lines")
            copy = f"\\copy ({' '.join(ROWS.split())}) TO '/dev/null'"
            copied.append(seconds(partial(psql, dsn, copy)))
            paged.append(await _page_through(target))
            streamed.append(seconds(partial(curl, *lines, path)))
        for name, taken in (("in pages of 1,000", paged), ("as lines of JSON", streamed)):
            row(f"events a second {name}", f"{EVENTS / median(taken):,.0f}")
            row("the same, to \\copy of the same rows", f"{median(copied) / median(taken):.3f}")
        delays = await _delays(target)
        row(
            "from a write to its event at a follower who waits: p50, p99 ms",
            f"{median(delays) * 1000:.0f}, {quantiles(delays, n=100)[98] * 1000:.0f}",
            "under 1000",
        )
        alone, beside = [], []
        wrk(target, "read", postmaster)
        for number in range(ROUNDS):
            step(f"round {number + 1} of {ROUNDS}: reads, and reads beside followers who wait")
            alone.append(await asyncio.to_thread(wrk, target, "read", postmaster))
            following = [asyncio.create_task(_follow(target, 1000)) for _ in range(FOLLOWERS)]
            beside.append(await asyncio.to_thread(wrk, target, "read", postmaster))
            for task in following:
                task.cancel()
        ratio = medians(beside).rate / medians(alone).rate
        row(f"reads beside {FOLLOWERS} followers who wait, to alone", f"{ratio:.2f}", "0.97")


async def _page_through(target: Target) -> float:
    """Read all events in pages; return the seconds that it takes."""
    began = time.perf_counter()
    async with _session(target) as session:
        after, more, found = "2020-01-01T00:00:00Z", True, 0
        while more:
            query = urlencode({"after": after, "limit": 1000})
            async with session.get(f"/api/v1/segments/FED/events?{query}") as response:
                page = json.loads(await response.read())
            after, more = page["next"], page["more"]
            found += len(page["events"])
    assert found == EVENTS
    return time.perf_counter() - began


async def _follow(target: Target, count: int, arrived: dict[int, float] | None = None) -> None:
    """Follow from now until so many events have come; keep when each user's event came."""
    found = 0
    async with _session(target) as session:
        after = "now"
        while found < count:
            async with session.get(f"/api/v1/events?wait=30&after={after}") as response:
                page = json.loads(await response.read())
            after = page["next"]
            found += len(page["events"])
            if arrived is not None:
                arrived |= {event["user_id"]: time.perf_counter() for event in page["events"]}


async def _delays(target: Target) -> list[float]:
    """Return the seconds from each write, when it is answered, to its event."""
    step("writes, and their events")
    arrived: dict[int, float] = {}
    written: dict[int, float] = {}
    follower = asyncio.create_task(_follow(target, WRITES, arrived))
    await asyncio.sleep(2)
    async with _session(target) as session:
        for number in range(1, WRITES + 1):
            user_id = 10_000_000 + number
            path = f"/api/v1/users/{user_id}/segments"
            async with session.post(path, json={"add": ["FED"]}) as response:
                assert response.ok
                await response.read()
            written[user_id] = time.perf_counter()
            await asyncio.sleep((10 + number * 37 % 60) / 100)  # at any point between two looks
    await follower
    return [arrived[user_id] - written[user_id] for user_id in written]


def _session(target: Target) -> ClientSession:
    return ClientSession(target.url, headers={"Authorization": f"Bearer {target.key}"})
