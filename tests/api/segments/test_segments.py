"""`/segments`: creating, listing, describing and deleting them."""

import asyncio
import re
from itertools import pairwise

import asyncpg
import pytest
from aiohttp.pytest_plugin import AiohttpClient

from segsvc.api.segments import store
from segsvc.app import create_app
from segsvc.db.pool import Connection
from tests import lock_waits
from tests.api_calls import change, create
from tests.conftest import SECRET, Client, Databases, database_name

SEGMENTS = "/api/v1/segments"
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


async def test_create(client: Client) -> None:
    """A new segment is answered whole, with its address."""
    response = await client.post(SEGMENTS, json={"slug": "A", "description": "Голос 🎤"})
    assert response.status == 201
    assert response.headers["Location"] == f"{SEGMENTS}/A"
    created = await response.json()
    assert RFC3339.fullmatch(created.pop("created_at"))
    empty = {"percent": None, "ends_at": None, "layer": None, "members": 0}
    assert created == {"slug": "A", "description": "Голос 🎤"} | empty
    described = await (await client.get(response.headers["Location"])).json()
    assert described["description"] == "Голос 🎤"


async def test_slugs_are_case_sensitive(client: Client) -> None:
    """Two slugs that differ in case are two segments; the longest slug is one too."""
    for slug in ("a", "A", "S" * 64, "a-B_9"):
        assert (await client.post(SEGMENTS, json={"slug": slug})).status == 201
    listed = await (await client.get(SEGMENTS)).json()
    assert [s["slug"] for s in listed["segments"]] == ["A", "S" * 64, "a", "a-B_9"]


async def test_list_in_pages(client: Client) -> None:
    """Pages follow each other by the last slug, and the last one says so."""
    slugs = sorted(f"SEG_{n}" for n in range(7))
    for slug in reversed(slugs):
        await create(client, slug)
    seen: list[str] = []
    after: dict[str, str] = {}
    for expected in (3, 3, 1):
        page = await (await client.get(SEGMENTS, params={"limit": "3"} | after)).json()
        assert len(page["segments"]) == expected
        seen += [segment["slug"] for segment in page["segments"]]
        after = {"after": page["next"]}
    assert page["next"] is None
    assert seen == slugs
    exact = await (await client.get(SEGMENTS, params={"limit": "7"})).json()
    assert exact["next"] is None


async def test_empty_list(client: Client) -> None:
    """A service without segments lists none."""
    assert await (await client.get(SEGMENTS)).json() == {"segments": [], "next": None}


async def test_deleted_slug_is_free(client: Client) -> None:
    """A deleted segment is gone at once, and its slug starts again without members."""
    await create(client, "A")
    await change(client, 1, add=["A"])
    assert (await (await client.get(f"{SEGMENTS}/A")).json())["members"] == 1
    response = await client.delete(f"{SEGMENTS}/A")
    assert (response.status, await response.text()) == (204, "")
    assert (await client.get(f"{SEGMENTS}/A")).status == 404
    assert (await client.delete(f"{SEGMENTS}/A")).status == 404
    assert (await client.post(SEGMENTS, json={"slug": "A"})).status == 201
    assert (await (await client.get(f"{SEGMENTS}/A")).json())["members"] == 0
    user = await (await client.get("/api/v1/users/1/segments")).json()
    assert user["segments"] == []


async def test_change_of_the_description(client: Client) -> None:
    """PATCH changes what it names and leaves the rest; both at once are one change."""
    await client.post(SEGMENTS, json={"slug": "A", "description": "old", "percent": 10})
    for body, expected in (
        ({"description": "new"}, ("new", 10)),
        ({"percent": 20}, ("new", 20)),
        ({"description": "", "percent": None}, ("", None)),
    ):
        response = await client.patch(f"{SEGMENTS}/A", json=body)
        assert response.status == 200
        changed = await response.json()
        assert (changed["description"], changed["percent"]) == expected
        assert await (await client.get(f"{SEGMENTS}/A")).json() == changed


async def test_one_of_many_creators_wins(client: Client) -> None:
    """Of twenty concurrent creations of a slug one succeeds, and the others are told."""
    responses = await asyncio.gather(
        *(client.post(SEGMENTS, json={"slug": "A"}) for _ in range(20))
    )
    assert sorted(response.status for response in responses) == [201] + [409] * 19


async def test_lives_of_a_slug_never_overlap(client: Client, conn: Connection) -> None:
    """However creations and deletions of a slug race, its lives come one after another."""

    async def churn() -> None:
        for _ in range(20):
            assert (await client.post(SEGMENTS, json={"slug": "A"})).status in {201, 409}
            assert (await client.delete(f"{SEGMENTS}/A")).status in {204, 404}

    await asyncio.gather(*(churn() for _ in range(4)))
    lives = await conn.fetch("SELECT created_at, deleted_at FROM segment ORDER BY created_at")
    assert len(lives) >= 20
    for earlier, later in pairwise(lives):
        assert earlier["deleted_at"] < later["created_at"]


WAITS = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"


async def test_creations_of_a_slug_take_turns(
    dsn: str, conn: Connection, admin: Connection
) -> None:
    """A creation waits for another of its slug that has not committed, and is then refused."""
    await conn.execute("""
        CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN new; END';
        CREATE TRIGGER stall BEFORE INSERT ON segment FOR EACH ROW EXECUTE FUNCTION stall();
        SELECT pg_advisory_lock(1);
    """)
    first, second = await asyncpg.connect(dsn), await asyncpg.connect(dsn)

    async def create(creator: Connection) -> bool:
        async with creator.transaction():
            await store.lock_slug(creator, "A")
            return await store.create(creator, "A", "") is not None

    creations = []
    for creator in (first, second):
        creations.append(asyncio.create_task(create(creator)))
        await lock_waits.state(admin, WAITS, creator.get_server_pid())
    await conn.execute("SELECT pg_advisory_unlock(1)")
    assert await asyncio.gather(*creations) == [True, False]
    await first.close()
    await second.close()


async def test_a_clock_that_stepped_back_moves_bounds(conn: Connection) -> None:
    """A life ends after its start, and the next starts after it, even if the clock goes back."""
    await conn.execute("""
        INSERT INTO segment (slug, description, created_at, deleted_at)
        VALUES ('A', '', now(), '2100-01-01'), ('B', '', '2100-01-01', 'infinity')
    """)
    async with conn.transaction():
        assert await store.create(conn, "A", "") is None
        await store.delete(conn, "B")
    bounds = await conn.fetch("""
        SELECT created_at::text, deleted_at::text FROM segment
        WHERE created_at > '2099-01-01' ORDER BY slug
    """)
    moved = "2100-01-01 00:00:00.000001+00"
    assert [tuple(row) for row in bounds] == [("2100-01-01 00:00:00+00", moved)]


@pytest.mark.slow
async def test_deleting_a_large_segment_is_one_row(
    aiohttp_client: AiohttpClient, crowd: str, new_database: Databases
) -> None:
    """Deleting a segment of 200 thousand members among a million periods writes none of them."""
    dsn = await new_database(database_name(crowd))  # a copy: other tests read the plans of crowd
    client = await aiohttp_client(create_app(dsn, secret=SECRET, anonymous=True))
    conn = await asyncpg.connect(dsn)
    fingerprint = "SELECT count(*), max(xmin::text::bigint), max(ctid) FROM membership"
    before = await conn.fetchrow(fingerprint)
    assert (await (await client.get(f"{SEGMENTS}/SEG_1")).json())["members"] >= 200_000
    assert (await client.delete(f"{SEGMENTS}/SEG_1")).status == 204
    assert await conn.fetchrow(fingerprint) == before
    await conn.close()
