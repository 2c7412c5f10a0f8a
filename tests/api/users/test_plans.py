"""Planned memberships: what begins later, what replaces it, and that nothing else changes."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from segsvc.auth import store as keys
from segsvc.auth.roles import Role
from segsvc.db.pool import Connection
from segsvc.maintenance import check
from tests.api_calls import attempt, call, change, create, delete, history, read, set_percent
from tests.clock import pass_time
from tests.conftest import Client

USER = "/users/1/segments"
CSV = {"Content-Type": "text/csv"}
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


@pytest.fixture(autouse=True)
async def segments(client: Client) -> None:
    for slug in ("A", "B"):
        await create(client, slug)


def later(span: timedelta = DAY) -> str:
    return (datetime.now(UTC) + span).isoformat()


async def plans(client: Client) -> list[tuple[str, str, str | None]]:
    """Return what is planned for user 1: slug, start and end."""
    upcoming = (await call(client, "GET", "/users/1/memberships"))["upcoming"]
    return [(plan["slug"], plan["starts_at"], plan["expires_at"]) for plan in upcoming]


async def in_days(client: Client, *days: float) -> list[list[str]]:
    """Return what user 1 is in after so many days, by the plans."""
    return [await read(client, 1, at=later(DAY * each)) for each in days]


async def test_start_is_exact(client: Client, conn: Connection) -> None:
    """The user is out until the start and in from it, with nothing running then."""
    start = datetime.now(UTC).replace(microsecond=0) + DAY
    answer = await change(client, 1, add=["A"], starts_at=start.isoformat(), ttl=3600)
    assert (answer["added"], answer["segments"]) == (["A"], [])
    end = start + timedelta(hours=1)
    assert await plans(client) == [
        ("A", f"{start:%Y-%m-%dT%H:%M:%S}.000000Z", f"{end:%Y-%m-%dT%H:%M:%S}.000000Z")
    ]
    for at, expected in (
        (start - TICK, []),
        (start, ["A"]),
        (start + TICK, ["A"]),
        (end - TICK, ["A"]),
        (end, []),
    ):
        assert await read(client, 1, at=at.isoformat()) == expected
    assert await history(client, 1) == []
    await pass_time(conn, DAY + timedelta(minutes=30))
    assert await read(client, 1) == ["A"]
    assert await plans(client) == []
    assert await history(client, 1) == [("A", "add", "added")]


async def test_own_start_before_the_common_one(client: Client) -> None:
    """The times at the top hold for each added slug without its own."""
    own, common = later(DAY), later(2 * DAY)
    await change(client, 1, add=["A", {"slug": "B", "starts_at": own}], starts_at=common, ttl=86400)
    assert await in_days(client, 0.5, 1.5, 2.5, 3.5) == [[], ["B"], ["A"], []]


async def test_repeating_changes_nothing(client: Client, conn: Connection) -> None:
    """The same plan again is no change, and leaves no second row."""
    body = {"add": ["A"], "starts_at": later(), "ttl": 60}
    assert (await change(client, 1, **body))["added"] == ["A"]
    assert (await change(client, 1, **body))["added"] == []
    assert await conn.fetchval("SELECT count(*) FROM membership") == 1


async def test_later_write_replaces_the_plan(client: Client) -> None:
    """A write says what holds from its start on."""
    await change(client, 1, add=["A"], starts_at=later(3 * DAY), ttl=86400)
    await change(client, 1, add=["A"], starts_at=later(DAY), ttl=86400)
    assert await in_days(client, 0, 1.5, 2.5, 3.5) == [[], ["A"], [], []]
    # What begins before the start of a write stays.
    await change(client, 1, add=["A"], starts_at=later(5 * DAY))
    assert await in_days(client, 0, 1.5, 2.5, 5.5) == [[], ["A"], [], ["A"]]
    # A plan inside a membership moves its end.
    await change(client, 1, add=["A"], starts_at=later(1.5 * DAY), ttl=2 * 86400)
    assert await in_days(client, 0, 1.2, 3, 4) == [[], ["A"], ["A"], []]
    await change(client, 1, add=["A"])
    assert await in_days(client, 0, 4) == [["A"], ["A"]]
    assert await plans(client) == []


async def test_the_same_end_again_cancels_the_plan(client: Client) -> None:
    """A write that moves no end is a change all the same if it replaces a plan."""
    end = later(DAY)
    await change(client, 1, add=["A"], expires_at=end)
    await change(client, 1, add=["A"], starts_at=later(2 * DAY))
    assert (await change(client, 1, add=["A"], expires_at=end))["added"] == ["A"]
    assert await in_days(client, 0, 1.5, 2.5) == [["A"], [], []]
    assert (await change(client, 1, add=["A"], expires_at=end))["added"] == []


async def test_removal_cancels_the_plan(client: Client, conn: Connection) -> None:
    """A removal leaves nothing of a plan: neither in the state nor in the history."""
    await change(client, 1, add=["A", "B"], starts_at=later())
    answer = await change(client, 1, remove=["A"])
    assert answer["removed"] == ["A"]
    assert [slug for slug, _, _ in await plans(client)] == ["B"]
    assert (await change(client, 1, remove=["A"]))["removed"] == []
    await pass_time(conn, 2 * DAY)
    assert await read(client, 1) == ["B"]
    assert await history(client, 1) == [("B", "add", "added")]


async def test_exclusion_returns_with_the_cancelled_plan(client: Client) -> None:
    """A plan ends an exclusion at its start, and cancelling the plan lifts that end."""
    await change(client, 1, add=["A"])
    await change(client, 1, remove=["A"])
    await set_percent(client, "A", 100)
    assert await read(client, 1) == []
    await change(client, 1, add=["A"], starts_at=later())
    assert await in_days(client, 0, 2) == [[], ["A"]]
    assert (await change(client, 1, remove=["A"]))["removed"] == ["A"]
    assert await in_days(client, 0, 2) == [[], []]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"add": ["A"], "starts_at": "2026-01-01T00:00:00Z"}, ["#/starts_at"]),
        (
            {"add": ["B", {"slug": "A", "starts_at": "2026-01-01T00:00:00Z"}]},
            ["#/add/1/starts_at"],
        ),
        (
            {
                "add": ["A"],
                "starts_at": "2098-01-02T00:00:00Z",
                "expires_at": "2098-01-01T00:00:00Z",
            },
            ["#/expires_at"],
        ),
        (
            {
                "add": ["A"],
                "starts_at": "2098-01-01T00:00:00Z",
                "expires_at": "2098-01-01T00:00:00Z",
            },
            ["#/expires_at"],
        ),
        ({"remove": ["A"], "starts_at": "2098-01-01T00:00:00Z"}, ["#/starts_at"]),
        ({"add": ["A"], "starts_at": "tomorrow"}, ["#/starts_at"]),
        (
            {"add": ["A", {"slug": "A", "starts_at": "2098-01-01T00:00:00Z"}]},
            ["#/add/1"],
        ),
    ],
)
async def test_wrong_starts(
    client: Client, conn: Connection, body: dict[str, Any], pointers: list[str]
) -> None:
    """A start that is not in the future, or not before the end, is refused and leaves no trace."""
    problem = await call(client, "POST", USER, 422, json=body)
    assert [error["pointer"] for error in problem["errors"]] == pointers
    assert await conn.fetchval("SELECT count(*) FROM membership") == 0


async def test_file(client: Client, conn: Connection) -> None:
    """A file may begin later too; repeating it changes nothing, and removing cancels it."""
    query = {"starts_at": later(), "ttl": "3600"}
    path = "/segments/A/members"
    assert await send(client, "add", **query) == 2
    assert await send(client, "add", **query) == 0
    assert (await call(client, "GET", path))["members"] == []
    assert (await call(client, "GET", "/segments/A"))["members"] == 0
    await change(client, 2, remove=["A"])
    await pass_time(conn, DAY + timedelta(minutes=1))
    members = (await call(client, "GET", path))["members"]
    assert [(m["user_id"], m["source"]) for m in members] == [(1, "manual")]
    await send(client, "add", starts_at=later())
    assert await send(client, "remove") == 2
    assert await in_days(client, 0, 2) == [[], []]
    sent: dict[str, Any] = {
        "data": b"1\n",
        "headers": CSV,
        "params": {"starts_at": "2026-01-01T00:00:00Z"},
    }
    problem = await call(client, "POST", f"{path}/add", 422, **sent)
    assert [error["pointer"] for error in problem["errors"]] == ["#/starts_at"]


async def test_file_beside_earlier_periods(client: Client) -> None:
    """A file that begins later moves the end of what covers its start, and of nothing before."""
    await send(client, "add", starts_at=later(DAY), ttl="86400")
    await send(client, "add", starts_at=later(1.5 * DAY), ttl=str(2 * 86400))
    assert await in_days(client, 0, 1.2, 3, 4) == [[], ["A"], ["A"], []]
    await send(client, "add", ttl="86400")
    await send(client, "add", starts_at=later(2 * DAY), ttl="86400")
    assert await in_days(client, 0.5, 1.5, 2.5, 3.5) == [["A"], [], ["A"], []]


async def send(client: Client, way: str, **query: str) -> int:
    """Add or remove users 1 and 2 by a file; return how many changed."""
    sent: dict[str, Any] = {"data": b"1\n2\n", "headers": CSV, "params": query}
    answer = await call(client, "POST", f"/segments/A/members/{way}", **sent)
    changed: int = answer["changed"]
    return changed


async def test_deleted_segment(client: Client, conn: Connection) -> None:
    """A plan of a segment that is deleted before it begins never begins, and is no fault."""
    await change(client, 1, add=["A"], starts_at=later())
    await delete(client, "A")
    await create(client, "A")
    assert await plans(client) == []
    await pass_time(conn, 2 * DAY)
    assert await read(client, 1) == []
    assert await history(client, 1) == []
    assert await check.structure(conn) == []


async def test_planner_is_named(client: Client, conn: Connection) -> None:
    """The history of a plan that has started names the key that made the plan."""
    key = await keys.create(conn, "ann", Role.EDITOR)
    headers = {"Authorization": f"Bearer {key}"}
    async with asyncio.timeout(10):
        while (await client.get("/api/v1/users/1/memberships")).status != 401:
            pass
    body = {"add": ["A"], "starts_at": later()}
    await call(client, "POST", USER, json=body, headers=headers)
    upcoming = (await call(client, "GET", "/users/1/memberships", headers=headers))["upcoming"]
    assert [plan["actor"] for plan in upcoming] == ["ann"]
    await pass_time(conn, 2 * DAY)
    events = (await call(client, "GET", "/users/1/history", headers=headers))["events"]
    assert [event["actor"] for event in events] == ["ann"]


async def test_concurrent_planners(client: Client, conn: Connection) -> None:
    """With many at the same time, no two periods of a user and a segment overlap."""

    async def work(number: int) -> None:
        for step in range(6):
            turn = (number + step) % 4
            if turn == 0:
                await change(client, 1, remove=["A"])
            else:
                start = later(timedelta(hours=(7 * number + step) % 11 + 1))
                await change(client, 1, add=["A"], starts_at=start, ttl=3600 * turn)

    await asyncio.gather(*(work(number) for number in range(16)))
    await change(client, 1, add=["A"], starts_at=later(DAY))
    assert await check.structure(conn) == []
    assert [slug for slug, _, _ in await plans(client)][-1:] == ["A"]


async def test_the_end_of_the_calendar(client: Client) -> None:
    """A plan may end in the year 9999, and one that would end later is refused by its place."""
    start = "9995-01-01T00:00:00Z"
    status, answer = await attempt(client, 1, add=["A"], starts_at=start, ttl=315_360_000)
    assert status == 422
    assert [each["pointer"] for each in answer["errors"]] == ["#/ttl"]
    path, query = "/segments/A/members/add", {"starts_at": start, "ttl": "315360000"}
    headers = {"Content-Type": "text/csv"}
    await call(client, "POST", path, 422, data="1\n", params=query, headers=headers)
    await change(client, 1, add=["A"], starts_at=start, expires_at="9999-12-31T23:59:59Z")
