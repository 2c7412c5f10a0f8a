"""The end of a membership: set, moved, lifted, and reached without anything running."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from segsvc.db.pool import Connection
from tests.api_calls import change, create, read
from tests.clock import pass_time
from tests.conftest import Client

USER = "/api/v1/users/1/segments"
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
async def segments(client: Client) -> None:
    for slug in ("A", "B", "C"):
        await create(client, slug)


async def ends(conn: Connection) -> dict[str, timedelta | None]:
    """Return for each period its slug and length, None without an end."""
    rows = await conn.fetch("""
        SELECT s.slug, nullif(m.valid_to, 'infinity') - m.valid_from AS length
        FROM membership AS m INNER JOIN segment AS s ON s.id = m.segment_id
    """)
    assert len({row["slug"] for row in rows}) == len(rows)
    return {row["slug"]: row["length"] for row in rows}


async def test_user_is_out_at_the_end(client: Client, conn: Connection) -> None:
    """A membership of two days ends after two days, with no job running."""
    await change(client, 1, add=["A", "B"], ttl=2 * 86400)
    await pass_time(conn, 2 * DAY - timedelta(minutes=1))
    assert await read(client, 1) == ["A", "B"]
    await pass_time(conn, timedelta(minutes=1))
    assert await read(client, 1) == []
    assert (await (await client.get("/api/v1/segments/A")).json())["members"] == 0


async def test_end_is_exact(client: Client) -> None:
    """The last microsecond before the end is in, the end itself is out."""
    end = datetime.now(UTC).replace(microsecond=0) + DAY
    await change(client, 1, add=["A"], expires_at=end.isoformat())
    for at, expected in ((end - timedelta(microseconds=1), ["A"]), (end, [])):
        assert await read(client, 1, at=at.isoformat()) == expected


async def test_own_end_before_the_common_one(client: Client, conn: Connection) -> None:
    """The expiry at the top holds for each added slug without its own."""
    end = datetime.now(UTC) + 30 * DAY
    await change(
        client,
        1,
        add=["A", {"slug": "B", "ttl": 60}, {"slug": "C", "expires_at": end.isoformat()}],
        ttl=86400,
    )
    lengths = await ends(conn)
    assert lengths.keys() == {"A", "B", "C"}
    assert (lengths["A"], lengths["B"]) == (DAY, timedelta(seconds=60))
    stored = await conn.fetchval("SELECT max(valid_to) FROM membership")
    assert stored == end


async def test_object_without_expiry_is_for_ever(client: Client, conn: Connection) -> None:
    """An object that names only a slug is that slug."""
    assert (await change(client, 1, add=[{"slug": "A"}]))["added"] == ["A"]
    assert await ends(conn) == {"A": None}


async def test_adding_again_moves_the_end(client: Client, conn: Connection) -> None:
    """Re-adding extends, shortens and lifts a TTL in the one period; the same end is no change."""
    end = datetime.now(UTC) + 10 * DAY
    for offset in (timedelta(0), 5 * DAY, -5 * DAY):
        body = {"add": ["A"], "expires_at": (end + offset).isoformat()}
        assert (await change(client, 1, **body))["added"] == ["A"]
        assert await conn.fetchval("SELECT valid_to FROM membership") == end + offset
        assert (await change(client, 1, **body))["added"] == []
    assert (await change(client, 1, add=["A"]))["added"] == ["A"]
    assert await ends(conn) == {"A": None}


async def test_adding_after_the_end_begins_again(client: Client, conn: Connection) -> None:
    """An expired user who is added again is in again, in a period of its own."""
    await change(client, 1, add=["A"], ttl=3600)
    await pass_time(conn, DAY)
    assert await read(client, 1) == []
    assert (await change(client, 1, add=["A"]))["added"] == ["A"]
    assert await read(client, 1) == ["A"]
    assert await conn.fetchval("SELECT count(*) FROM membership") == 2


async def test_removing_after_the_end_changes_nothing(client: Client, conn: Connection) -> None:
    """An end that has passed stays as it is after a later removal."""
    await change(client, 1, add=["A"], ttl=3600)
    await pass_time(conn, DAY)
    assert (await change(client, 1, remove=["A"]))["removed"] == []
    assert await ends(conn) == {"A": timedelta(hours=1)}


async def test_different_ttls_at_once_leave_one_period(client: Client, conn: Connection) -> None:
    """Twenty TTLs of different lengths added to one user at once leave one period."""
    await asyncio.gather(*(change(client, 1, add=["A"], ttl=ttl) for ttl in range(1000, 1020)))
    lengths = await ends(conn)
    assert lengths.keys() == {"A"}
    assert await read(client, 1) == ["A"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"add": ["A"], "expires_at": "2020-01-01T00:00:00Z"}, ["#/expires_at"]),
        (
            {"add": [{"slug": "A", "expires_at": "2020-01-01T00:00:00Z"}, "B"]},
            ["#/add/0/expires_at"],
        ),
        ({"add": ["A", "B"], "expires_at": "2020-01-01T00:00:00Z"}, ["#/expires_at"]),
        ({"add": ["A"], "ttl": 60, "expires_at": "2100-01-01T00:00:00Z"}, ["#/ttl"]),
        ({"remove": ["A"], "ttl": 60}, ["#/ttl"]),
        *(
            ({"add": ["A"], "ttl": ttl}, ["#/ttl"])
            for ttl in (0, -1, 1.5, "60", True, None, 315_360_001, 10**30)
        ),
        *(
            ({"add": ["A"], "expires_at": moment}, ["#/expires_at"])
            for moment in (
                "2100-01-01T00:00:00",
                "2100-01-01",
                "2100-02-30T00:00:00Z",
                "2100-01-01T24:00:00Z",
                "0001-01-01T00:00:00+14:00",
                "9999-12-31T23:59:59-14:00",
                "tomorrow",
                "",
                4102444800,
                None,
            )
        ),
        ({"add": [{"slug": "A", "ttl": 0}]}, ["#/add/0/ttl"]),
        ({"add": [{"slug": "A", "tll": 60}]}, ["#/add/0/tll"]),
        ({"add": [{"ttl": 60}]}, ["#/add/0/slug"]),
        ({"add": [{"slug": "A", "ttl": 60}, "A"]}, ["#/add/1"]),
        ({"add": [["A"]]}, ["#/add/0"]),
    ],
)
async def test_wrong_expiries(
    client: Client, conn: Connection, body: dict[str, Any], pointers: list[str]
) -> None:
    """A wrong or past expiry refuses the request, points at itself, and stores nothing."""
    response = await client.post(USER, json=body)
    problem = await response.json()
    assert response.status == 422, problem
    assert problem["type"] == "urn:segsvc:problem:invalid-request"
    assert [error["pointer"] for error in problem["errors"]] == pointers
    assert await conn.fetchval("SELECT count(*) FROM membership") == 0
    assert await conn.fetchval("SELECT count(*) FROM users") == 0


async def test_longest_and_shortest_ttl(client: Client, conn: Connection) -> None:
    """One second and ten years are TTLs; the same slug may repeat with the same one."""
    await change(client, 1, add=[{"slug": "A", "ttl": 1}, {"slug": "A", "ttl": 1}])
    await change(client, 1, add=["B"], ttl=315_360_000)
    assert await ends(conn) == {"A": timedelta(seconds=1), "B": 3650 * DAY}
