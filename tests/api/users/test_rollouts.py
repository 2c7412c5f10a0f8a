"""Percentages: the point of a user, who is in, and what is decided by hand over it."""

import asyncio
import csv
import hashlib
from collections.abc import Awaitable, Callable
from math import sqrt

import asyncpg
import pytest

from segsvc.api.users import store
from segsvc.db.pool import Connection
from tests import ROOT
from tests.api_calls import (
    call,
    change,
    create,
    delete,
    explain,
    history,
    members,
    read,
    read_many,
    set_percent,
)
from tests.conftest import Client

VECTORS = ROOT / "tests" / "vectors" / "rollout.csv"

SEGMENTS = "/api/v1/segments"
USERS = range(1, 1001)


def point(slug: str, user_id: int) -> int:
    """Return the point as the design defines it."""
    return int.from_bytes(hashlib.sha256(f"{slug}:{user_id}".encode()).digest()[:4], "big")


async def users_in(client: Client, slug: str) -> set[int]:
    """Return those of a thousand users who are in a segment, asked in one request."""
    found = await read_many(client, USERS)
    return {user_id for user_id, slugs in found.items() if slug in slugs}


async def test_vectors(conn: Connection) -> None:
    """Points equal those that were computed outside this project."""
    with VECTORS.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 144
    for row in rows:
        found = await conn.fetchval(
            "SELECT rollout_point($1, $2)", row["slug"], int(row["user_id"])
        )
        assert found == int(row["point"]) == point(row["slug"], int(row["user_id"]))


async def test_formula_for_a_hundred_thousand_users(conn: Connection) -> None:
    """Points equal the formula of the design for small and for great user ids."""
    rows = await conn.fetch("""
        SELECT u, rollout_point('checkout-v2', u) AS point
        FROM (
            SELECT generate_series(1, 50000) AS u
            UNION ALL SELECT 9223372036854775807 - generate_series(0, 49999)
        ) AS users
    """)
    assert len(rows) == 100_000
    assert all(row["point"] == point("checkout-v2", row["u"]) for row in rows)


async def test_thresholds(conn: Connection) -> None:
    """A percentage owns the points from 0 to its share of 2^32, rounded down, for each of them."""
    await conn.execute(
        "INSERT INTO segment (slug, description, created_at) VALUES ('A', '', now())"
    )
    rows = await conn.fetch("""
        INSERT INTO rollout (segment_id, percent, salt, points, valid_from, valid_to)
        SELECT
            1, n / 100.0, 'A', rollout_points(n / 100.0), to_timestamp(n), to_timestamp(n + 1)
        FROM generate_series(0, 10000) AS n
        RETURNING threshold, coalesce(lower(points), 0) AS first, coalesce(upper(points), 0) AS last
    """)
    shares = [n * 2**32 // 10_000 for n in range(10_001)]
    assert [tuple(row) for row in rows] == [(share, 0, share) for share in shares]


async def test_points_decide_without_a_threshold(client: Client, conn: Connection) -> None:
    """Points that are not one range from 0 have no threshold, and decide in every read alike."""
    await create(client, "A", 50)
    await conn.execute("UPDATE rollout SET points = '{[0,1000000000),[3000000000,4294967296)}'")
    assert await conn.fetchval("SELECT threshold FROM rollout") is None
    users = list(range(1, 101))
    expected = {u for u in users if not 1_000_000_000 <= point("A", u) < 3_000_000_000}
    read = {user for user, slugs in (await read_many(client, users)).items() if slugs}
    assert 0 < len(expected) < 100
    assert read == {each["user_id"] for each in await members(client, "A")} == expected
    for user in users[:10]:
        reasons, events = await explain(client, user), await history(client, user)
        assert len(reasons) == len(events) == (user in expected)


SHARES = """
    SELECT
        count(*) FILTER (WHERE a < $3 * 42949672.96),
        count(*) FILTER (WHERE a < $3 * 42949672.96 AND b < $3 * 42949672.96)
    FROM (
        SELECT rollout_point($1, u) AS a, rollout_point($2, u) AS b
        FROM generate_series(1::bigint, 100000) AS u
    ) AS points
"""


@pytest.mark.parametrize("percent", [0.1, 1, 5, 50, 99])
async def test_share_of_users(conn: Connection, percent: float) -> None:
    """Of a hundred thousand users the percentage is in, within 3.5 sigma."""
    inside = await conn.fetchval(SHARES, "SEG_1", "SEG_1", percent)
    share = percent / 100
    assert abs(inside - 100_000 * share) < 3.5 * sqrt(100_000 * share * (1 - share))


@pytest.mark.parametrize("pair", [("SEG_1", "SEG_12"), ("DISCOUNT_30", "DISCOUNT_50")])
async def test_segments_are_independent(conn: Connection, pair: tuple[str, str]) -> None:
    """Two segments of 10 % share about 1 % of the users, within 3.5 sigma."""
    row = await conn.fetchrow(SHARES, *pair, 10)
    assert row
    both = row[1]
    assert abs(both - 1000) < 3.5 * sqrt(100_000 * 0.01 * 0.99)


async def test_nobody_and_everybody(client: Client) -> None:
    """0 % admits nobody and 100 % everybody, to the last user."""
    await create(client, "NONE", 0)
    await create(client, "ALL", 100)
    assert await users_in(client, "NONE") == set()
    assert await users_in(client, "ALL") == set(USERS)


async def test_raising_keeps_everyone(client: Client) -> None:
    """Everyone in at a percentage is in at a higher one; the set is the formula's."""
    await create(client, "A", 10)
    taken: dict[float, set[int]] = {10: await users_in(client, "A")}
    for percent in (20, 20.01, 50, 10):
        await set_percent(client, "A", percent)
        taken[percent] = await users_in(client, "A")
        threshold = int(percent * 100) * 2**32 // 10_000
        assert taken[percent] == {u for u in USERS if point("A", u) < threshold}
    assert set() < taken[10] < taken[20] <= taken[20.01] < taken[50]


async def test_same_users_after_deletion(client: Client) -> None:
    """A deleted automatic segment is nobody's; created again it has the same users."""
    await create(client, "A", 10)
    before = await users_in(client, "A")
    await delete(client, "A")
    assert await users_in(client, "A") == set()
    await create(client, "A", 10)
    assert await users_in(client, "A") == before


async def test_manual_again(client: Client) -> None:
    """With the percentage null only those put in by hand are in."""
    await create(client, "A", 100)
    await change(client, 5, add=["A"])
    await set_percent(client, "A", None)
    assert await users_in(client, "A") == {5}


async def test_same_percentage_writes_nothing(client: Client, conn: Connection) -> None:
    """Setting the percentage that is set leaves the rollout as it was."""
    await create(client, "A", 10)
    rows = await conn.fetch("SELECT * FROM rollout")
    await set_percent(client, "A", 10)
    assert await conn.fetch("SELECT * FROM rollout") == rows
    await set_percent(client, "A", None)
    await set_percent(client, "A", None)
    assert await conn.fetchval("SELECT count(*) FROM rollout") == 1


async def test_percentage_under_a_clock_that_stepped_back(client: Client, conn: Connection) -> None:
    """Rollouts follow one another even if the last one begins in the clock's future."""
    await create(client, "A", None)
    await conn.execute(
        "INSERT INTO rollout (segment_id, percent, salt, points, valid_from)"
        " VALUES (1, 10, 'A', rollout_points(10), '2100-01-01')"
    )
    for percent in (20, None, 30):
        await set_percent(client, "A", percent)
    rows = await conn.fetch("""
        SELECT percent::int, date_part('year', valid_from) = 2100 AS later,
            lead(valid_from) OVER (ORDER BY valid_from) >= valid_to AS apart
        FROM rollout ORDER BY valid_from
    """)
    assert [tuple(row) for row in rows] == [
        (10, True, True), (20, True, True), (30, True, None),
    ]  # fmt: skip


async def test_removal_holds_through_any_raise(client: Client) -> None:
    """A user removed by hand from an automatic segment stays out until added by hand."""
    await create(client, "A", 10)
    (inside,) = list(await users_in(client, "A"))[:1]
    outside = next(u for u in USERS if point("A", u) > 2**31)
    for user_id in (inside, outside):
        assert (await change(client, user_id, remove=["A"]))["removed"] == ["A"]
        assert (await change(client, user_id, remove=["A"]))["removed"] == []
    for percent in (20, 100, None, 100):
        await set_percent(client, "A", percent)
        assert not await users_in(client, "A") & {inside, outside}
    assert (await change(client, inside, add=["A"]))["added"] == ["A"]
    await set_percent(client, "A", 0)
    assert await users_in(client, "A") == {inside}


async def test_addition_holds_through_any_cut(client: Client) -> None:
    """A user added by hand stays in at every percentage."""
    await create(client, "A", 50)
    outside = next(u for u in USERS if point("A", u) > 2**31)
    await change(client, outside, add=["A"])
    await set_percent(client, "A", 10)
    assert outside in await users_in(client, "A")
    for percent in (0, None):
        await set_percent(client, "A", percent)
        assert await users_in(client, "A") == {outside}


async def write_singly(client: Client, operation: str) -> bool:
    """Add user 7001 to A, or remove the user; return whether anything changed."""
    answer = await change(client, 7001, **{operation: ["A"]})
    return bool(answer["added"] or answer["removed"])


async def write_by_file(client: Client, operation: str) -> bool:
    """The same by a file."""
    path = f"/segments/A/members/{operation}"
    headers = {"Content-Type": "text/csv"}
    return bool((await call(client, "POST", path, data="7001", headers=headers))["changed"])


Write = Callable[[Client, str], Awaitable[bool]]


@pytest.mark.parametrize("write", [write_singly, write_by_file])
async def test_removal_from_a_manual_segment_holds(client: Client, write: Write) -> None:
    """A user removed from a manual segment stays out at every later percentage."""
    await create(client, "A", None)
    assert await write(client, "add")
    assert await write(client, "remove")
    await set_percent(client, "A", 100)
    assert await read(client, 7001) == []
    assert (await explain(client, 7001))["A"]["state"] == "excluded"
    assert await history(client, 7001) == [("A", "add", "added"), ("A", "remove", "removed")]
    assert await write(client, "add")
    assert await read(client, 7001) == ["A"]


@pytest.mark.parametrize("write", [write_singly, write_by_file])
async def test_removal_of_nobody_from_a_manual_segment(client: Client, write: Write) -> None:
    """Removing a user who is not in a manual segment changes nothing: a rollout admits the user."""
    await create(client, "A", None)
    assert not await write(client, "remove")
    assert await explain(client, 7001) == {}
    await set_percent(client, "A", 100)
    assert await read(client, 7001) == ["A"]


async def test_addition_for_a_time_ends_an_exclusion(client: Client, conn: Connection) -> None:
    """Once an addition with an end has expired, the percentage decides, not the old removal."""
    await create(client, "A", 100)
    await change(client, 7001, remove=["A"])
    await change(client, 7001, add=["A"], ttl=3600)
    await conn.execute(
        "UPDATE membership SET valid_from = valid_from - interval '2 hours',"
        " valid_to = valid_to - interval '2 hours';"
        "UPDATE users SET first_seen_at = first_seen_at - interval '3 hours'"
    )
    reason = (await explain(client, 7001))["A"]
    assert (reason["state"], reason["source"]) == ("included", "rollout")


async def test_included_for_a_time_then_by_percentage(client: Client, conn: Connection) -> None:
    """When a period by hand ends, the percentage decides again."""
    await create(client, "A", 50)
    inside = next(u for u in USERS if point("A", u) < 2**31)
    outside = next(u for u in USERS if point("A", u) >= 2**31)
    await change(client, inside, add=["A"])
    await change(client, outside, add=["A"])
    await conn.execute("""
        UPDATE membership SET valid_from = valid_from - interval '1 day', valid_to = now()
    """)
    both = await users_in(client, "A") & {inside, outside}
    assert both == {inside}


async def test_first_read_makes_a_user_known(client: Client, conn: Connection) -> None:
    """A user is registered by any first read, and once."""
    await create(client, "A", 100)
    paths = ("/users/1/segments", "/users/2/segments?at=2020-01-01T00:00:00Z",
             "/users/3/memberships")  # fmt: skip
    for path in paths * 2:
        assert (await client.get(f"/api/v1{path}")).status == 200
    await client.post("/api/v1/users/segments", json={"user_ids": [5, 4, 5]})
    known = await conn.fetch("SELECT id FROM users ORDER BY id")
    assert [row["id"] for row in known] == [1, 2, 3, 4, 5]


async def test_read_of_a_user_who_cannot_be_noted(client: Client, conn: Connection) -> None:
    """A read is answered even while its user cannot be registered, for a lock or for good."""
    await create(client, "A", 100)
    async with conn.transaction():
        await conn.execute("INSERT INTO users VALUES (1, now())")
        answer = await (await client.get("/api/v1/users/1/segments")).json()
        assert answer["segments"] == ["A"]
    await conn.execute("ALTER TABLE users ADD CONSTRAINT full_up CHECK (id < 2)")
    for path in ("/users/2/segments", "/users/2/memberships"):
        response = await client.get(f"/api/v1{path}")
        assert response.status == 200
        assert "A" in await response.text()
    assert await conn.fetchval("SELECT count(*) FROM users") == 1


async def test_not_known_not_in(client: Client) -> None:
    """As of a time before the user was known, no rollout had the user in."""
    await create(client, "A", 100)
    at = (await (await client.get(f"{SEGMENTS}/A")).json())["created_at"]
    await change(client, 1, remove=["A"])
    await change(client, 1, add=["A"])
    response = await client.get("/api/v1/users/1/segments", params={"at": at})
    assert (await response.json())["segments"] == []


async def test_future_of_a_user_never_heard_of(client: Client) -> None:
    """As of a time to come, a first read answers what the second one does."""
    await create(client, "A", 100)
    for _ in range(2):
        response = await client.get("/api/v1/users/1/segments?at=2100-01-01T00:00:00Z")
        assert (await response.json())["segments"] == ["A"]


async def test_reads_during_fifty_changes(client: Client) -> None:
    """While the percentage changes fifty times, no user of the smaller one is ever out."""
    await create(client, "A", 20)
    steady = sorted(await users_in(client, "A"))[:50]
    reads = [0] * 4
    done = asyncio.Event()

    async def watch(watcher: int) -> None:
        while not done.is_set():
            body = {"user_ids": steady}
            response = await client.post("/api/v1/users/segments", json=body)
            users = (await response.json())["users"]
            assert all(user["segments"] == ["A"] for user in users)
            reads[watcher] += 1

    async with asyncio.TaskGroup() as watchers:
        for watcher in range(len(reads)):
            watchers.create_task(watch(watcher))
        changes = 0
        while changes < 50 or min(reads) < 10:
            await set_percent(client, "A", 20 + 60 * (changes % 2))
            changes += 1
        done.set()


async def test_percent_changes_at_once(client: Client, conn: Connection) -> None:
    """Concurrent changes of a percentage take turns, and leave one open rollout."""
    await create(client, "A", 1)
    await asyncio.gather(*(set_percent(client, "A", n) for n in range(2, 32)))
    open_rollouts = "SELECT count(*) FROM rollout WHERE valid_to = 'infinity'"
    assert await conn.fetchval(open_rollouts) == 1


async def test_removal_racing_with_a_rollout(client: Client, conn: Connection) -> None:
    """A removal excludes exactly if the segment was automatic at its time."""
    await create(client, "A", None)
    for user_id in range(1, 31):
        percent = 100 if user_id % 2 else None
        await asyncio.gather(
            set_percent(client, "A", percent), change(client, user_id, remove=["A"])
        )
    astray = await conn.fetchval("""
        SELECT count(*) FROM membership AS m WHERE NOT m.included AND NOT EXISTS (
            SELECT FROM rollout AS r WHERE r.segment_id = m.segment_id
            AND r.valid_from <= m.valid_from AND m.valid_from < r.valid_to
        )
    """)
    assert astray == 0


@pytest.mark.parametrize(
    "percent", [-0.01, 100.01, 10.001, "10", True, [], {}, 1e300, -(10**40), 10**40]
)
async def test_wrong_percentages(client: Client, percent: object) -> None:
    """A percentage out of range, too fine or of another type is refused, and nothing changes."""
    await create(client, "A", 10)
    for response in (
        await client.post(SEGMENTS, json={"slug": "B", "percent": percent}),
        await client.patch(f"{SEGMENTS}/A", json={"percent": percent}),
    ):
        assert response.status == 422
        problem = await response.json()
        assert [error["pointer"] for error in problem["errors"]] == ["#/percent"]
    listed = (await (await client.get(SEGMENTS)).json())["segments"]
    assert [(s["slug"], s["percent"]) for s in listed] == [("A", 10)]


@pytest.mark.parametrize("text", ["10", "10.00", "1e1", "1.0E+1", "10.000", "10." + 20000 * "0"])
async def test_spellings_of_ten(client: Client, text: str) -> None:
    """Every JSON spelling of a number is the same percentage."""
    body = f'{{"slug": "A", "percent": {text}}}'
    response = await client.post(SEGMENTS, data=body, headers={"Content-Type": "application/json"})
    assert (await response.json())["percent"] == 10


@pytest.mark.slow
async def test_read_touches_what_is_current(crowd: str) -> None:
    """Reading a user with a long history reads the current periods and open rollouts only."""
    conn = await asyncpg.connect(crowd)
    async with conn.transaction():
        await conn.execute("""
            INSERT INTO membership (user_id, segment_id, included, valid_from, valid_to)
            SELECT 7, s, TRUE, timestamptz '2026-01-03' + s * interval '1 s',
                timestamptz '2026-01-03' + s * interval '1 s 1 ms'
            FROM generate_series(1, 5000) AS s;
            SET LOCAL plan_cache_mode = force_generic_plan;
        """)
        await conn.execute(f"PREPARE reviewed AS {store.LIST_AT}")
        lines = await conn.fetch("""
            EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE reviewed('{7}', NULL)
        """)
        text = "\n".join(row[0] for row in lines)
        current = await conn.fetchval("""
            SELECT count(*) FROM membership WHERE user_id = 7 AND valid_to > now()
        """)
        await conn.execute("ROLLBACK; BEGIN")
    await conn.close()
    assert current >= 4
    for line in text.splitlines():
        # All segments of layers are current here, so that a scan of their table is no loss.
        assert "Seq Scan" not in line or " on layer_segment " in line, text
        if " on membership" in line:
            assert f"rows={current}.00 " in line or f"rows={current} " in line, text
        if " on rollout r" in line:
            assert "rows=20" in line, text
    # Nothing is read to be thrown away, but for the points of users who are not in.
    thrown = [line for line in text.splitlines() if "Rows Removed" in line]
    assert len(thrown) <= 1, text
