"""`GET /events` and `GET /segments/{slug}/events`: pages, lines, waiting, and what is refused."""

import asyncio
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from segsvc.api.events import store
from segsvc.db.pool import Connection
from segsvc.db.sql import statement
from segsvc.http import BASE
from segsvc.maintenance import prune
from tests.api_calls import call, change, create, delete, members, read, set_percent
from tests.clock import pass_time
from tests.conftest import Client
from tests.histories import put_in
from tests.processes import TIMEOUT

LINES = {"Accept": "application/x-ndjson"}


async def feed(client: Client, path: str = "/events", **query: Any) -> dict[str, Any]:
    """Return a page of the feed."""
    page: dict[str, Any] = await call(client, "GET", path, params=query)
    return page


async def following(client: Client, after: str, count: int, **query: Any) -> list[dict[str, Any]]:
    """Return so many events after a cursor, waiting for them, in pages of 2, or as asked."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(TIMEOUT):
        while len(found) < count:
            page = await feed(client, after=after, wait=10, **{"limit": 2} | query)
            after = page["next"]
            found += page["events"]
    assert len(found) == count
    return found


def short(events: list[dict[str, Any]]) -> list[tuple[int, str, str, str]]:
    """Return user, slug, operation and cause of events."""
    return [(e["user_id"], e["slug"], e["operation"], e["cause"]) for e in events]


async def now(client: Client) -> str:
    """Return the cursor of now."""
    cursor: str = (await feed(client, after="now"))["next"]
    return cursor


async def test_events(client: Client) -> None:
    """Who enters and leaves is told once, in order, to who asks for all, for some, or for one."""
    start = await now(client)
    await create(client, "A")
    await create(client, "B")
    await change(client, 1000, add=["A", "B"])
    await change(client, 1001, add=["B"])
    await change(client, 1000, remove=["A"])
    await delete(client, "B")
    found = await following(client, start, 6)
    assert short(found) == [
        (1000, "A", "add", "added"),
        (1000, "B", "add", "added"),
        (1001, "B", "add", "added"),
        (1000, "A", "remove", "removed"),
        (1000, "B", "remove", "segment_deleted"),
        (1001, "B", "remove", "segment_deleted"),
    ]
    assert list(found[0]) == ["id", "at", "user_id", "slug", "operation", "cause", "actor"]
    assert len({event["id"] for event in found}) == 6
    for query in ({"after": start}, {}):  # from the cursor, or from the oldest event
        page = await feed(client, **query)
        assert page["events"] == found
        assert (page["more"], page["horizon"] > found[-1]["at"]) == (False, True)
    of_a = [event for event in found if event["slug"] == "A"]
    assert (await feed(client, "/segments/A/events"))["events"] == of_a
    assert (await feed(client, segment="A"))["events"] == of_a
    assert (await feed(client, segment="B,A"))["events"] == found
    assert (await feed(client, after=found[2]["id"]))["events"] == found[3:]
    assert (await feed(client, after=found[2]["at"]))["events"] == found[3:]
    page = await feed(client, limit=4)
    assert (page["events"], page["next"], page["more"]) == (found[:4], found[3]["id"], True)


async def test_lines(client: Client) -> None:
    """As lines of JSON, all events come at once, and the header has the cursor after them."""
    await create(client, "A")
    await put_in(client, "A", *range(1, 2501))
    await set_percent(client, "A", 100)
    found = await following(client, "2024-01-01T00:00:00Z", 2500, limit=1000)
    response = await client.get(f"{BASE}/events", headers=LINES)
    assert response.content_type == "application/x-ndjson"
    assert [json.loads(line) for line in (await response.text()).splitlines()] == found
    after = response.headers["Events-After"]
    assert (await feed(client, after=after))["events"] == []
    response = await client.get(f"{BASE}/segments/A/events?after={after}", headers=LINES)
    assert await response.read() == b""


async def test_list_then_follow(client: Client, conn: Connection) -> None:
    """The events after the cursor of a list lead from the list to each later one."""
    await create(client, "A")
    await put_in(client, "A", *range(1, 11))
    await following(client, "2024-01-01T00:00:00Z", 10)
    listed = await call(client, "GET", "/segments/A/members?limit=4")
    at: datetime = await conn.fetchval("SELECT clock_timestamp()")
    csv = await client.get(f"{BASE}/segments/A/members", headers={"Accept": "text/csv"})
    in_csv = {int(line.split(",")[0]) for line in (await csv.text()).splitlines()[1:]}
    await change(client, 11, add=["A"])
    await change(client, 3, remove=["A"])
    past = await call(client, "GET", "/segments/A/members", params={"at": at.isoformat()})
    later = {member["user_id"] for member in await members(client, "A")}
    for inside, after in (
        (set(range(1, 11)), listed["events_after"]),
        (in_csv, csv.headers["Events-After"]),
        ({member["user_id"] for member in past["members"]}, past["events_after"]),
    ):
        events = await following(client, after, 2)
        assert inside == set(range(1, 11))
        assert short(events) == [(11, "A", "add", "added"), (3, "A", "remove", "removed")]
        assert (inside | {11}) - {3} == later


async def test_list_as_of_a_time_that_is_not_safe(client: Client, conn: Connection) -> None:
    """A list as of now may miss a write under way: the feed continues from before that write."""
    await create(client, "A")
    async with conn.transaction():
        locked = await conn.fetchrow(statement("users/lock"), [7], ["A"])
        assert locked
        await feed(client, after="now", wait=1)  # until the horizon has been asked for again
        at: datetime = await conn.fetchval("SELECT clock_timestamp()")
        listed = await call(client, "GET", "/segments/A/members", params={"at": at.isoformat()})
        assert listed["members"] == []
        await conn.execute(
            "INSERT INTO membership (user_id, segment_id, included, valid_from)"
            " VALUES (7, $1, TRUE, $2)",
            locked["ids"][0],
            locked["locked_at"],
        )
    assert [e["user_id"] for e in await following(client, listed["events_after"], 1)] == [7]


async def test_waiting(client: Client) -> None:
    """A request that waits is answered by an event, or without one when its time is over."""
    await create(client, "A")
    start = await now(client)
    loop = asyncio.get_running_loop()
    waiting = [asyncio.create_task(feed(client, after=start, wait=30)) for _ in range(5)]
    idle = await feed(client, after=start, wait=1)
    assert idle["events"] == []
    assert not any(task.done() for task in waiting)
    asked_at = loop.time()
    await change(client, 1, add=["A"], ttl=1)
    pages = await asyncio.gather(*waiting)
    assert loop.time() - asked_at < 10
    assert all(short(page["events"]) == [(1, "A", "add", "added")] for page in pages)
    expired = await feed(client, after=pages[0]["next"], wait=30)
    assert short(expired["events"]) == [(1, "A", "remove", "expired")]
    late = datetime.fromisoformat(expired["horizon"]) - datetime.fromisoformat(
        expired["events"][0]["at"]
    )
    assert late < timedelta(seconds=5)  # half a second, on a machine that is not busy


async def test_one_query_for_all(client: Client, conn: Connection) -> None:
    """Who waits shares the query for the horizon, which is made at most twice a second."""
    await conn.execute("""
        CREATE SEQUENCE asked;
        CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM nextval('asked');
            RETURN new;
        END $$;
        CREATE TRIGGER count_it BEFORE UPDATE ON feed FOR EACH ROW EXECUTE FUNCTION count_it();
    """)
    start = await now(client)
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    await asyncio.gather(*(feed(client, after=start, wait=3) for _ in range(30)))
    assert await conn.fetchval("SELECT last_value FROM asked") <= 2 * (loop.time() - asked_at) + 2


async def test_stop_answers_who_waits(client: Client) -> None:
    """When the service stops, a request that waits is answered."""
    start = await now(client)
    waiting = asyncio.create_task(feed(client, after=start, wait=30))
    await feed(client, after=start, wait=1)
    await client.app.shutdown()
    async with asyncio.timeout(5):
        assert (await waiting)["events"] == []


async def test_percentage_is_found_page_by_page(
    client: Client, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page looks at so many users and no more: it may be empty, and the next one goes on."""
    monkeypatch.setattr(store, "SCAN", 10)
    monkeypatch.setattr(store, "MOST_STEPS", 4)
    await create(client, "A", 0)
    await conn.execute("INSERT INTO users SELECT n, now() FROM generate_series(1, 1000) AS n")
    start = await now(client)
    await set_percent(client, "A", 2)
    expected = {member["user_id"] for member in await members(client, "A")}
    await following(client, start, len(expected))
    after, pages, found = start, [], []
    while (page := await feed(client, after=after))["more"]:
        pages.append(page)
        after = page["next"]
        found += page["events"]
    assert {event["user_id"] for event in found + page["events"]} == expected
    assert len(pages) >= 1000 / 40
    assert any(not page["events"] for page in pages)
    # Who waits gets no empty page before the end.
    assert (await feed(client, after=start, wait=30))["events"]


async def test_open_write_holds_the_feed(client: Client, conn: Connection) -> None:
    """While a write is under way, nothing after its start is served, and then all of it."""
    await create(client, "A")
    start = await now(client)
    async with conn.transaction():
        locked = await conn.fetchrow(statement("users/lock"), [7], ["A"])
        assert locked
        await change(client, 8, add=["A"])
        idle = await feed(client, after=start, wait=2)
        assert (idle["events"], idle["more"]) == ([], False)
        assert datetime.fromisoformat(idle["horizon"]) < locked["locked_at"]
        await conn.execute(
            "INSERT INTO membership (user_id, segment_id, included, valid_from)"
            " VALUES (7, $1, TRUE, $2)",
            locked["ids"][0],
            locked["locked_at"],
        )
    assert [e["user_id"] for e in await following(client, idle["next"], 2)] == [7, 8]


async def test_stopped_between_clock_and_insert(client: Client, conn: Connection) -> None:
    """A statement that has read the clock and not inserted yet holds the feed, too."""
    await create(client, "A")
    start = await now(client)
    await conn.execute("""
        CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock_shared(1, 1);
            RETURN new;
        END $$;
        CREATE TRIGGER pause BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION pause();
        SELECT pg_advisory_lock(1, 1);
    """)
    writing = asyncio.create_task(change(client, 5, add=["A"]))
    paused = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with asyncio.timeout(30):
        while not await conn.fetchval(paused):
            pass
    idle = await feed(client, after=start, wait=2)
    assert idle["events"] == []
    await conn.execute("SELECT pg_advisory_unlock(1, 1)")
    await writing
    found = await following(client, idle["next"], 1)
    assert short(found) == [(5, "A", "add", "added")]


@pytest.mark.parametrize(
    ("lock", "arguments"),
    [
        ("users/lock", ([7], ["A"])),
        ("segments/lock", ("A",)),
        ("members/lock_segment", ("A", None)),
        ("layers/lock_segments", (["A"],)),
    ],
)
async def test_each_lock_holds_the_feed(
    client: Client, conn: Connection, lock: str, arguments: tuple[Any, ...]
) -> None:
    """What reads the clock for a write has locked a table that the feed looks at."""
    await create(client, "A")
    async with conn.transaction():
        locked = await conn.fetchrow(statement(lock), *arguments)
        assert locked
        page = await feed(client, after="now", wait=1)
        assert datetime.fromisoformat(page["horizon"]) < locked["locked_at"]


async def test_open_registration_holds_the_feed(client: Client, conn: Connection) -> None:
    """A user who is becoming known holds the feed: the user may be in by percentage."""
    await create(client, "A", 100)
    start = await now(client)
    async with conn.transaction():
        await conn.execute(statement("users/register"), [5])
        await read(client, 6)
        idle = await feed(client, after=start, wait=2)
        assert idle["events"] == []
    assert [e["user_id"] for e in await following(client, idle["next"], 2)] == [5, 6]


async def test_extended_membership_has_not_left(client: Client, conn: Connection) -> None:
    """An end that is moved while it passes is not announced."""
    await create(client, "A")
    start = await now(client)
    await change(client, 1, add=["A"], ttl=2)
    end: datetime = await conn.fetchval("SELECT valid_to FROM membership")
    async with conn.transaction():
        await conn.execute("SELECT FROM users FOR UPDATE")
        passed = "SELECT clock_timestamp() > $1"
        while not await conn.fetchval(passed, end):
            page = await feed(client, after=start, wait=1)
            assert not [e for e in page["events"] if e["operation"] == "remove"]
        await conn.execute("UPDATE membership SET valid_to = valid_to + interval '1 hour'")
    assert short(await following(client, start, 1)) == [(1, "A", "add", "added")]
    await change(client, 2, add=["A"])
    assert [e["user_id"] for e in await following(client, start, 2)] == [1, 2]


async def test_clock_that_stepped_back(client: Client, conn: Connection) -> None:
    """Every write is after what the feed has served, though the clock is five seconds before."""
    await create(client, "A")
    await create(client, "B", 0)
    await create(client, "C")
    served: datetime = await conn.fetchval(
        "UPDATE feed SET horizon = clock_timestamp() + interval '5 seconds' RETURNING horizon"
    )
    assert await now(client) < _cursor(served)  # asking does not move it back
    await change(client, 1, add=["A"])  # a change of a user, who becomes known
    await read(client, 2)  # a read of an unknown user
    await put_in(client, "A", 3)  # a file
    await set_percent(client, "B", 100)
    await delete(client, "C")
    await create(client, "D", 100)
    await call(client, "POST", "/layers", 201, json={"slug": "L", "segments": ["A"]})
    times = await conn.fetch("""
        SELECT min(first_seen_at) FROM users UNION ALL
        SELECT min(valid_from) FROM membership UNION ALL
        SELECT max(valid_from) FROM rollout WHERE percent = 100 UNION ALL
        SELECT deleted_at FROM segment WHERE slug = 'C' UNION ALL
        SELECT created_at FROM segment WHERE slug = 'D' UNION ALL
        SELECT valid_from FROM layer_segment
    """)
    assert [row[0] for row in times if row[0] < served] == []
    first = await conn.fetchval("SELECT min(first_seen_at) FROM users")
    assert first >= served
    cursor = _cursor(served)
    idle = await feed(client, after=cursor)
    assert (idle["events"], idle["next"]) == ([], cursor)
    expected = 2 + 3 + 3  # in A by hand, in B and in D by percentage
    found = await following(client, cursor, expected)
    assert {(e["user_id"], e["slug"]) for e in found} == {
        *((user_id, "A") for user_id in (1, 3)),
        *((user_id, slug) for user_id in (1, 2, 3) for slug in "BD"),
    }


def _cursor(at: datetime) -> str:
    return f"{(at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)}_0_0"


async def test_pruned(client: Client, conn: Connection) -> None:
    """Who stopped following before what is kept is told to list the members again."""
    await create(client, "A")
    old = await now(client)
    await change(client, 1, add=["A"], ttl=60)
    await pass_time(conn, timedelta(hours=1))
    before: datetime = await conn.fetchval("SELECT clock_timestamp() - interval '1 minute'")
    async for _ in prune.prune(conn, before):
        pass
    assert await conn.fetchval("SELECT pruned_before FROM feed") == before
    moved = str(int(old.split("_")[0]) - 3_600_000_000) + "_0_0"
    for path in ("/events", "/segments/A/events"):
        answer = await call(client, "GET", path, 410, params={"after": moved})
        assert answer["type"] == "urn:segsvc:problem:events-gone"
        assert "events_after" in answer["detail"]
        gone = await client.get(BASE + path, params={"after": moved}, headers=LINES)
        assert (gone.status, (await gone.json())["status"]) == (410, 410)
        assert (await feed(client, path, wait=1))["events"] == []  # from what is kept
    again = (await call(client, "GET", "/segments/A/members"))["events_after"]
    await change(client, 2, add=["A"])
    assert short(await following(client, again, 1)) == [(2, "A", "add", "added")]


@pytest.mark.parametrize(
    "after",
    ["", "x", "1_2", "1_2_3_4", "-1_0_-1", "9" * 18 + "_0_0", "1_9223372036854775808_0",
     "1795348800000000_0_9223372036854775808", "2026-11-22", "NOW", "0x1_0_0", "١_0_0"],
)  # fmt: skip
async def test_wrong_cursors(client: Client, after: str) -> None:
    """What is no cursor is refused by name."""
    answer = await call(client, "GET", "/events", 422, params={"after": after})
    assert [error["pointer"] for error in answer["errors"]] == ["#/after"]


@pytest.mark.parametrize(
    "after", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999998Z", "253402300799999999_1_1"]
)
async def test_cursors_at_the_ends_of_time(client: Client, after: str) -> None:
    """Any time is a cursor, and the next one leads on from it."""
    await create(client, "A", 100)
    await read(client, 1)
    page = await feed(client, after=after)
    again = await feed(client, after=page["next"])
    assert again["next"] >= page["next"]
    assert math.isfinite(len(page["events"]))


async def test_relist_of_a_running_service(client: Client, conn: Connection) -> None:
    """Cursors from before are refused, also if nothing has happened, and a new list is not."""
    await create(client, "A")
    old = await now(client)
    await feed(client, after=old, wait=1)
    await prune.refuse_cursors(conn, await conn.fetchval("SELECT clock_timestamp()"))
    await feed(client, after="now", wait=1)
    await call(client, "GET", "/events", 410, params={"after": old})
    listed = await call(client, "GET", "/segments/A/members")
    await feed(client, after=listed["events_after"])
    for path in ("/events", "/segments/A/events"):  # from what is kept
        assert (await feed(client, path))["events"] == []


async def test_failure_is_shared(client: Client, conn: Connection) -> None:
    """While the horizon cannot be stored, nobody waits for the turns of others."""
    await create(client, "A")
    loop = asyncio.get_running_loop()
    async with conn.transaction():
        await conn.execute("SELECT FROM feed FOR UPDATE")
        asked_at = loop.time()
        answers = await asyncio.gather(
            *(call(client, "GET", "/events", 503) for _ in range(10)),
            *(call(client, "GET", "/segments/A/members") for _ in range(10)),
        )
        assert loop.time() - asked_at < 15  # one attempt takes five seconds
    assert [answer["events_after"] for answer in answers[10:]] == [None] * 10
    assert (await feed(client, wait=1))["events"] == []
