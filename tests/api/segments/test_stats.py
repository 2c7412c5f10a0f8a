"""`GET /segments/{slug}/stats`: the size of a segment over time."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from segsvc.api.reports import store as reports
from segsvc.api.reports.links import Report
from segsvc.api.reports.months import Month
from segsvc.api.segments.stats import Interval
from segsvc.db.pool import Connection
from tests.api_calls import call, change, create, delete, members, set_percent
from tests.clock import pass_time
from tests.conftest import Client
from tests.histories import NAMES, make

TICK = timedelta(microseconds=1)


async def stats(client: Client, slug: str, **query: str) -> list[dict[str, Any]]:
    answer = await call(client, "GET", f"/segments/{slug}/stats", params=query)
    found: list[dict[str, Any]] = answer["stats"]
    return found


Event = tuple[str, str, datetime]


async def events(conn: Connection, start: datetime, end: datetime) -> list[Event]:
    """Return slug, operation and time of what the reports of some months say."""
    month = Month(start.year, start.month)
    found: list[Event] = []
    while month.start < end:
        text = bytearray()

        async def sink(piece: bytes, text: bytearray = text) -> None:
            text.extend(piece)

        await reports.copy(conn, Report(month, None), sink)
        rows = [line.split(";") for line in text.decode().splitlines()]
        found += [(slug, operation, datetime.fromisoformat(at)) for _, slug, operation, at in rows]
        month = Month(month.end.year, month.end.month)
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("interval", "hours"), [("hour", (1, 4)), ("day", (8, 40)), ("week", (90, 200))]
)
async def test_stats_are_the_replayed_report(
    client: Client, conn: Connection, seed: int, interval: str, hours: tuple[int, int]
) -> None:
    """Each step has the events of the report, and the users who are listed just before its end."""
    rng = random.Random(seed)
    await make(client, conn, rng, hours)
    now: datetime = await conn.fetchval("SELECT clock_timestamp()")
    first: datetime = await conn.fetchval("SELECT min(created_at) FROM segment")
    replayed = await events(conn, first, now)
    for slug in NAMES:
        found = await stats(client, slug, step=interval, **{"from": first.isoformat()})
        starts = [datetime.fromisoformat(row["at"]) for row in found]
        assert starts[0] <= first < starts[1]
        assert all(start == Interval(interval).start_of(start) for start in starts)
        assert found[-1]["members"] == len(await members(client, slug))
        size = 0
        for row, start, end in zip(found, starts, [*starts[1:], now], strict=True):
            counts = Counter(
                kind for name, kind, at in replayed if name == slug and start <= at < end
            )
            assert (row["joined"], row["left"]) == (counts["add"], counts["remove"])
            size += counts["add"] - counts["remove"]
            assert row["members"] == size == row["by_hand"] + row["by_percentage"]
            if rng.random() < 0.3 and start >= first:
                listed = await members(client, slug, at=(end - TICK).isoformat())
                sources = Counter(member["source"] for member in listed)
                assert row["by_hand"] == sources["manual"]
                assert row["by_percentage"] == sources["rollout"]
    assert len(replayed) > 500


async def test_the_last_thirty_steps(client: Client, conn: Connection) -> None:
    """Without a start these are the last 30 steps, the one under way included."""
    await create(client, "A", 100)
    await change(client, 1, add=["A"])
    await pass_time(conn, timedelta(days=40))
    await change(client, 2, add=["A"])
    found = await stats(client, "A")
    today = Interval.DAY.start_of(datetime.now(UTC))
    assert [datetime.fromisoformat(row["at"]) for row in found] == [
        today - timedelta(days=days) for days in range(29, -1, -1)
    ]
    assert {row["members"] for row in found[:-1]} == {1}
    counts = {"members": 2, "by_hand": 2, "by_percentage": 0, "joined": 1, "left": 0}
    assert found[-1] == {"at": found[-1]["at"]} | counts
    assert len(await stats(client, "A", step="hour")) == 30


async def test_a_deleted_segment(client: Client, conn: Connection) -> None:
    """The segment that had the slug at the end is meant."""
    await create(client, "A")
    await change(client, 1, add=["A"])
    await pass_time(conn, timedelta(days=3))
    then = await conn.fetchval("SELECT clock_timestamp() - interval '1 day'")
    await delete(client, "A")
    await create(client, "A")
    assert (await stats(client, "A"))[-1]["members"] == 0
    assert (await stats(client, "A", to=then.isoformat()))[-1]["members"] == 1
    await call(client, "GET", "/segments/A/stats?to=2020-01-01T00:00:00Z", 404)


@pytest.mark.parametrize(
    ("query", "pointer", "said"),
    [
        ({"from": "2098-01-01T00:00:00Z"}, "#/from", "is not before the end"),
        ({"from": "2000-01-01T00:00:00Z"}, "#/from", "at most 1000 steps"),
        ({"step": "month"}, "#/step", "hour, day, week"),
        ({"from": "2026-11-01"}, "#/from", "offset"),
        ({"form": "2026-11-01"}, "#/form", "Unknown"),
    ],
)
async def test_bad_steps(client: Client, query: dict[str, str], pointer: str, said: str) -> None:
    """What is wrong is pointed at."""
    await create(client, "A")
    answer = await call(client, "GET", "/segments/A/stats", 422, params=query)
    (error,) = answer["errors"]
    assert error["pointer"] == pointer
    assert said in error["detail"]


async def test_a_plan_is_not_counted(client: Client) -> None:
    """An end in the future is the end of the steps: now; what is planned is not in them."""
    await create(client, "A")
    await change(client, 1, add=[{"slug": "A", "starts_at": "2098-01-01T00:00:00Z"}])
    await set_percent(client, "A", 0)
    found = await stats(client, "A", to="2099-01-01T00:00:00Z")
    assert len(found) == 30
    assert {row["members"] for row in found} == {0}
