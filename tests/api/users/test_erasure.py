"""`DELETE /users/{user_id}`: nothing that is stored names the user afterwards."""

import asyncio
import subprocess
from datetime import timedelta
from typing import Any

import pytest

from segsvc.db.pool import Connection
from segsvc.maintenance import check
from tests import lock_waits
from tests.api_calls import call, change, create, history, members, read
from tests.clock import pass_time
from tests.conftest import Client
from tests.db.test_migrations import PG_DUMP

USER = 7_319_512_608_411_973
CSV = {"Content-Type": "text/csv"}
EXCLUSIVE = "SELECT pg_advisory_xact_lock(1936026482, 0)"


async def erase(client: Client, user_id: int = USER) -> None:
    response = await client.delete(f"/api/v1/users/{user_id}")
    assert (response.status, await response.text()) == (204, "")


async def dump(dsn: str) -> str:
    command = [str(PG_DUMP), "--inserts", dsn]
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    return bytes(done.stdout).decode()


async def faults(conn: Connection) -> list[str]:
    found = await check.structure(conn)
    async for _, wrong in check.replay(conn):
        found += wrong
    return found


async def test_nothing_is_left(client: Client, conn: Connection, dsn: str) -> None:
    """After memberships, ends, plans, moves and a file, a dump of the database has no such id."""
    for slug in ("A", "B", "C"):
        await create(client, slug)
    await call(client, "POST", "/layers", 201, json={"slug": "L", "segments": ["A", "B"]})
    await change(client, USER, add=["A", {"slug": "C", "ttl": 60}])
    await change(client, USER, add=["B"], on_conflict="move")
    await change(client, USER, add=[{"slug": "C", "starts_at": "2098-01-01T00:00:00Z"}])
    body = f"{USER}\n1\n".encode()
    await call(client, "POST", "/segments/C/members/add", data=body, headers=CSV)
    await pass_time(conn, timedelta(hours=1))
    assert str(USER) in await dump(dsn)
    await erase(client)
    assert str(USER) not in await dump(dsn)
    (entry,) = (await call(client, "GET", "/audit", params={"limit": "1"}))["entries"]
    assert (entry["action"], entry["slug"], entry["details"]) == ("user.erase", None, {})
    assert [each["user_id"] for each in await members(client, "C")] == [1]
    assert await faults(conn) == []
    assert await read(client, USER) == []
    assert await history(client, USER) == []


async def test_unknown_users(client: Client, conn: Connection) -> None:
    """Erasing a user who is not known changes nothing, and does not make the user known."""
    await erase(client)
    assert await conn.fetch("TABLE users") == []
    assert await conn.fetch("TABLE audit") == []
    answer = await client.delete("/api/v1/users/0")
    assert answer.status == 422
    await answer.read()


async def test_by_percentage(client: Client, conn: Connection) -> None:
    """A user who is asked about again is new, and in by percentage from then on."""
    await create(client, "A", 100)
    assert await read(client, USER) == ["A"]
    await change(client, USER, remove=["A"])
    await erase(client)
    assert await read(client, USER) == ["A"]
    assert await history(client, USER) == [("A", "add", "rollout")]
    assert await faults(conn) == []


@pytest.mark.parametrize("known_before", [True, False])
async def test_beside_a_file(
    client: Client, conn: Connection, dsn: str, *, known_before: bool
) -> None:
    """A file that is under way in a segment of the user comes before, and any other one after."""
    await create(client, "A")
    await create(client, "B")
    await change(client, 1, add=["A"])
    await change(client, USER, add=["A" if known_before else "B"])
    held = "SELECT FROM membership WHERE user_id = 1 FOR UPDATE"
    async with lock_waits.holding(dsn, held):
        body = f"1\n{USER}\n2\n".encode()
        path = "/segments/A/members/remove"
        adding = asyncio.create_task(call(client, "POST", path, data=body, headers=CSV))
        await lock_waits.state(conn)
        erasing = asyncio.create_task(erase(client))
        if known_before:
            await lock_waits.state(conn, lock_waits.TWO_WAIT)
        else:
            await erasing
    await adding
    await erasing
    known = await conn.fetchval("SELECT count(*) FROM users WHERE id = $1", USER)
    assert known == (0 if known_before else 1)
    assert await conn.fetchval("SELECT count(*) FROM membership WHERE user_id = $1", USER) == 0
    assert await faults(conn) == []


async def test_a_file_waits_for_an_erasure(client: Client, conn: Connection, dsn: str) -> None:
    """A file that has not looked yet who is known finds out that the user is gone."""
    await create(client, "A")
    await create(client, "B")
    await change(client, USER, add=["B"])
    async with lock_waits.holding(dsn, EXCLUSIVE) as erasing:
        path = "/segments/A/members/add"
        sent: dict[str, Any] = {"data": f"{USER}\n".encode(), "headers": CSV}
        adding = asyncio.create_task(call(client, "POST", path, **sent))
        await lock_waits.state(conn)
        await erasing.execute("DELETE FROM membership WHERE segment_id = 2")
        await erasing.execute("DELETE FROM users")
    assert (await adding)["changed"] == 1
    assert await faults(conn) == []


@pytest.mark.parametrize("body", [b"1\n", {"from": {"any_of": ["B"]}}])
async def test_who_is_found_is_not_erased_meanwhile(
    client: Client, conn: Connection, dsn: str, body: Any
) -> None:
    """A replacement and a set look for users after an erasure: they do not name who is gone."""
    await create(client, "A", 100)
    await create(client, "B")
    await change(client, 1, add=["B"])
    await change(client, USER, add=["B"])
    sent: dict[str, Any] = {"json": body}
    if isinstance(body, bytes):
        sent = {"data": body, "headers": CSV}
    async with lock_waits.holding(dsn, EXCLUSIVE) as erasing:
        replacing = asyncio.create_task(call(client, "PUT", "/segments/A/members", **sent))
        await lock_waits.state(conn)
        await erasing.execute("DELETE FROM membership WHERE user_id = $1", USER)
        await erasing.execute("DELETE FROM users WHERE id = $1", USER)
    assert (await replacing)["received"] == 1
    assert await conn.fetchval("SELECT count(*) FROM users WHERE id = $1", USER) == 0
    assert await faults(conn) == []


async def test_a_segment_that_was_missed(client: Client, conn: Connection, dsn: str) -> None:
    """A user whom one file has put into a segment, and another one is changing, is erased after."""
    await create(client, "A")
    await create(client, "B")
    await change(client, USER, add=["A"])
    share = "SELECT pg_advisory_lock_shared(1936026482, 0)"
    async with lock_waits.holding(dsn, share) as second:
        async with lock_waits.holding(dsn, share) as first:
            await first.execute(
                "INSERT INTO membership (user_id, segment_id, included, valid_from)"
                " VALUES ($1, 2, TRUE, clock_timestamp())",
                USER,
            )
            erasing = asyncio.create_task(erase(client))
            await lock_waits.state(conn)
        await second.execute("SELECT FROM segment WHERE id = 2 FOR NO KEY UPDATE")
        ended = "UPDATE membership SET valid_to = clock_timestamp() WHERE segment_id = 2"
        await second.execute(ended)
        await second.execute(
            "INSERT INTO membership (user_id, segment_id, included, valid_from)"
            " VALUES ($1, 2, FALSE, clock_timestamp())",
            USER,
        )
        await second.execute(share.replace("lock_shared", "unlock_shared"))
        waits_for_a_row = """
            SELECT count(*) FROM pg_stat_activity AS a JOIN pg_locks AS l ON a.pid = l.pid
            WHERE a.datname = current_database() AND NOT l.granted AND l.locktype <> 'advisory'
        """
        await lock_waits.state(conn, waits_for_a_row)
    await erasing
    assert await conn.fetch("TABLE membership") == []
    assert await conn.fetch("TABLE users") == []


async def test_many_at_once(client: Client, conn: Connection) -> None:
    """Changes, reads, files, replacements and erasures of the same users leave no orphan."""
    users = range(1, 9)
    for slug, percent in (("A", None), ("B", 50), ("C", None)):
        await create(client, slug, percent)
    stop = asyncio.Event()

    async def repeat(what: Any) -> int:
        times = 0
        while not stop.is_set():
            await what(times)
            times += 1
        return times

    async def upload(times: int) -> None:
        slug = "ABC"[times % 3]
        body = "".join(f"{user}\n" for user in users).encode()
        method, path = (
            ("POST", f"/segments/{slug}/members/add"),
            ("PUT", f"/segments/{slug}/members"),
            ("POST", f"/segments/{slug}/members/remove"),
        )[times % 2 if times % 5 else 2]
        sent: dict[str, Any] = {"data": body, "headers": CSV}
        if times % 4 == 3:
            sent = {"json": {"from": {"any_of": ["B", "C"]}}}
        await call(
            client, method, path, params={"allow_empty": "true"} if method == "PUT" else {}, **sent
        )

    async def write(times: int) -> None:
        slug, other = "ABC"[times % 3], "ABC"[(times + 1) % 3]
        await change(client, users[times % 8], add=[slug], remove=[other])

    async def ask(times: int) -> None:
        await read(client, users[times % 8])

    async def remove(times: int) -> None:
        await erase(client, users[times * 3 % 8])

    working = [asyncio.create_task(repeat(w)) for w in (upload, write, write, ask, remove, remove)]
    await lock_waits.state(conn, "SELECT count(*) > 100 FROM audit WHERE action = $1", "user.erase")
    stop.set()
    assert min(await asyncio.gather(*working)) > 5
    assert await faults(conn) == []
