"""`PUT /segments/{slug}/members`: the file is the list. And dry runs of files."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from segsvc.db.pool import Connection
from segsvc.maintenance import check
from tests import lock_waits
from tests.api_calls import call, change, create, explain, members, read, read_many
from tests.clock import pass_time
from tests.conftest import Client
from tests.processes import TIMEOUT, serving, workers_of

CSV = {"Content-Type": "text/csv"}
A = "/segments/A/members"
USERS = range(1, 201)


def lines(*user_ids: int) -> bytes:
    return "".join(f"{user_id}\n" for user_id in user_ids).encode()


async def put(client: Client, *user_ids: int, status: int = 200, **query: str) -> Any:
    return await call(client, "PUT", A, status, data=lines(*user_ids), headers=CSV, params=query)


def counts(received: int, added: int, removed: int) -> dict[str, int]:
    unchanged = received - added
    return {"received": received, "unchanged": unchanged, "added": added, "removed": removed}


async def ids(client: Client) -> set[int]:
    return {member["user_id"] for member in await members(client, "A")}


async def test_the_file_is_the_list(client: Client, conn: Connection) -> None:
    """Who is missing is added, who is not in the file is removed, and others stay."""
    await create(client, "A")
    assert await put(client, 1, 2, 3, 3) == counts(4, 3, 0) | {"unchanged": 1}
    assert await put(client, 2, 3, 4) == counts(3, 1, 1)
    assert await put(client, 2, 3, 4) == counts(3, 0, 0)
    assert await ids(client) == {2, 3, 4}
    assert (await explain(client, 1))["A"]["state"] == "excluded"
    await pass_time(conn, timedelta(hours=1))
    events = (await call(client, "GET", "/users/1/history"))["events"]
    assert [(event["operation"], event["cause"]) for event in events] == [
        ("add", "added"),
        ("remove", "removed"),
    ]
    assert len((await call(client, "GET", "/users/2/history"))["events"]) == 1


@pytest.mark.parametrize("percent", [None, 40])
async def test_what_is_replaced(client: Client, conn: Connection, percent: int | None) -> None:
    """Ends, plans, percentages and exclusions: afterwards the file is the list, for ever."""
    await create(client, "A", percent)
    await create(client, "B")
    await create(client, "C")
    await call(client, "POST", "/layers", 201, json={"slug": "L", "segments": ["A", "B"]})
    await read_many(client, USERS)
    body = {"on_conflict": "suspend"}
    await change(client, 1, add=[{"slug": "A", "ttl": 3600}])
    await change(client, 2, add=[{"slug": "A", "ttl": 3600}])
    await change(client, 3, add=[{"slug": "A", "starts_at": "2090-01-01T00:00:00Z"}])
    await change(client, 4, add=[{"slug": "A", "starts_at": "2090-01-01T00:00:00Z"}])
    await change(client, 5, remove=["A"])
    await change(client, 6, remove=["A"])
    await change(client, 7, add=["A"])
    await change(client, 7, add=["B"], **body)
    by_percentage = await ids(client) - {1, 2}
    listed = {1, 3, 5, *(user for user in by_percentage if user % 2), 150, 151}
    left = (await ids(client) | {4, 7}) - listed
    dry = await put(client, *listed, dry_run="true")
    answer = await put(client, *listed)
    assert dry == answer | {"dry_run": True}
    assert answer["removed"] == len(left)
    assert await ids(client) == listed
    await pass_time(conn, timedelta(hours=2))
    assert await ids(client) == listed
    await change(client, 7, remove=["B"])
    assert "A" not in await read(client, 7)
    assert {m["source"] for m in await members(client, "A")} == {"manual"}
    later = {m["user_id"] for m in await members(client, "A", at="2091-01-01T00:00:00Z")}
    assert later == listed
    assert await put(client, *listed) == counts(len(listed), 0, 0)
    assert await check.structure(conn) == []


async def test_an_empty_list(client: Client) -> None:
    """A file without users is refused, unless the request says that nobody shall be left."""
    await create(client, "A")
    await put(client, 1, 2)
    for query in ({}, {"dry_run": "true"}, {"allow_empty": "false"}):
        answer = await put(client, status=422, **query)
        assert answer["type"] == "urn:segsvc:problem:nobody-listed"
        body = {"from": {"all_of": ["A"], "none_of": ["A"]}}
        answer = await call(client, "PUT", A, 422, json=body, params=query)
        assert answer["type"] == "urn:segsvc:problem:nobody-listed"
    assert await ids(client) == {1, 2}
    assert await put(client, allow_empty="true") == counts(0, 0, 2)
    assert await ids(client) == set()


@pytest.mark.parametrize("way", ["add", "remove"])
async def test_dry_runs(client: Client, conn: Connection, way: str) -> None:
    """A dry run gives the counts of the real run, and changes nothing."""
    await create(client, "A", 50)
    await read_many(client, range(1, 101))
    await put(client, *range(1, 31))
    path = f"{A}/{way}"
    before = await conn.fetch("TABLE membership"), await conn.fetch("TABLE users")
    sent: dict[str, Any] = {"data": lines(*range(20, 131)), "headers": CSV}
    dry = await call(client, "POST", path, params={"dry_run": "true"}, **sent)
    assert before == (await conn.fetch("TABLE membership"), await conn.fetch("TABLE users"))
    assert await call(client, "POST", path, **sent) | {"dry_run": True} == dry
    assert dry["changed"] > 50


async def test_a_dry_run_waits_for_nobody(client: Client, dsn: str) -> None:
    """A dry run neither waits for a change of the segment, nor holds one off."""
    await create(client, "A")
    await put(client, 1, 2)
    held = "SELECT FROM segment CROSS JOIN membership FOR UPDATE"
    async with lock_waits.holding(dsn, held):
        async with asyncio.timeout(TIMEOUT):
            assert (await put(client, 2, 3, dry_run="true"))["removed"] == 1


async def test_two_at_once_leave_one_of_the_lists(client: Client, conn: Connection) -> None:
    """Of two replacements at once, one comes after the other, as a whole."""
    await create(client, "A")
    lists = [{*range(n * 50, n * 50 + 300)} for n in range(1, 5)]
    rng = random.Random(0)
    for _ in range(6):
        chosen = rng.sample(lists, 2)
        await asyncio.gather(*(put(client, *users) for users in chosen))
        assert await ids(client) in chosen
    assert await check.structure(conn) == []


async def test_beside_a_change_of_a_user(client: Client, conn: Connection, dsn: str) -> None:
    """A change of a user waits for a replacement that is under way, and comes after it."""
    await create(client, "A")
    await put(client, *range(1, 100))
    held = "SELECT FROM membership WHERE user_id = 50 FOR UPDATE"
    async with lock_waits.holding(dsn, held):
        replacing = asyncio.create_task(put(client, *range(1, 50)))
        await lock_waits.state(conn)
        changing = asyncio.create_task(change(client, 60, add=["A"]))
        await lock_waits.state(conn, lock_waits.TWO_WAIT)
        assert not replacing.done()
    assert (await replacing)["removed"] == 50
    assert (await changing)["added"] == ["A"]
    assert await ids(client) == {*range(1, 50), 60}


@pytest.mark.slow
async def test_a_killed_replacement_leaves_the_old_list(dsn: str, conn: Connection) -> None:
    """A service that is killed while it replaces a list has changed nothing."""

    async def replace(url: str, user_ids: range) -> Any:
        body = lines(*user_ids)
        async with (
            ClientSession(url) as http,
            http.put(f"/api/v1{A}", data=body, headers=CSV) as response,
        ):
            return await response.json()

    old, new = range(1, 2000), range(1000, 3000)
    await conn.execute(
        "INSERT INTO segment (slug, description, created_at) VALUES ('A', '', now())"
    )
    with serving(database_url=dsn) as (url, process):
        assert (await replace(url, old))["added"] == len(old)
        held = "SELECT FROM membership WHERE user_id = 50 FOR UPDATE"
        async with lock_waits.holding(dsn, held):
            replacing = asyncio.create_task(replace(url, new))
            await lock_waits.state(conn)
            workers = workers_of(process.pid)
            process.kill()
            for worker in workers:
                worker.kill()
            with pytest.raises(ClientError):
                await replacing
            await lock_waits.state(conn, f"SELECT NOT EXISTS ({lock_waits.LOCK_WAIT})")
        found = await conn.fetch(
            "SELECT user_id FROM membership WHERE included AND valid_to > now()"
        )
        assert {row["user_id"] for row in found} == set(old)
    with serving(database_url=dsn) as (url, _):
        assert await replace(url, new) == counts(2000, 1000, 999)
