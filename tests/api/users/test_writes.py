"""Changes that arrive together go in one transaction, and each has a verdict of its own."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
import pytest

from segsvc.api.users import store
from segsvc.api.users.store import Change, Changed
from segsvc.api.users.writes import WRITES, Writes
from segsvc.db.conditions import SegmentsNotLive
from segsvc.db.pool import Connection
from segsvc.db.session import MIGRATION_SESSION, pin
from segsvc.db.values import Bounds, Term, bounds_of
from tests import lock_waits
from tests.api_calls import attempt, call, change, create, history, read
from tests.conftest import Client
from tests.processes import TIMEOUT

CSV = {"Content-Type": "text/csv"}
MANY = 60


@pytest.fixture
def writes(client: Client) -> Writes:
    assert client.app
    return client.app[WRITES]


@pytest.fixture
async def other(dsn: str) -> AsyncIterator[Connection]:
    """Another client of the database, which holds locks."""
    conn = await asyncpg.connect(dsn, server_settings={"statement_timeout": "0"})
    await pin(conn, MIGRATION_SESSION)
    yield conn
    await conn.close()


def add(user_id: int, slug: str = "A") -> Change:
    return Change(user_id, {slug: Term()}, ())


def remove(user_id: int, slug: str = "A") -> Change:
    return Change(user_id, {}, (slug,))


async def test_what_arrives_together_is_one_transaction(
    client: Client, conn: Connection, writes: Writes
) -> None:
    """Changes that arrive while one is under way are committed together, as of one time."""
    await create(client, "A")
    done = await asyncio.gather(*(writes.change(add(n)) for n in range(1, MANY)))
    assert done == [Changed(["A"], [])] * (MANY - 1)
    rows = await conn.fetch("SELECT DISTINCT xmin::text, valid_from FROM membership")
    assert len(rows) <= 2


async def test_a_refusal_is_alone(client: Client, conn: Connection) -> None:
    """What is refused changes nothing, users included, and what goes with it is done."""
    for slug in ("A", "B", "C"):
        await create(client, slug)
    await call(client, "POST", "/layers", 201, json={"slug": "L", "segments": ["B", "C"]})
    await change(client, 1, add=["B"])
    past = "2020-01-01T00:00:00Z"
    bodies: dict[int, tuple[dict[str, Any], int]] = {
        1: ({"add": ["C"]}, 409),
        2: ({"add": ["A", "NONE"]}, 422),
        3: ({"add": ["A"], "expires_at": past}, 422),
        4: ({"add": ["A"], "starts_at": past}, 422),
        5: ({"add": ["B", "C"]}, 422),
        6: ({"add": ["A"]}, 200),
        7: ({"add": ["B"], "remove": ["A"]}, 200),
    }
    found = await asyncio.gather(*(attempt(client, n, **body) for n, (body, _) in bodies.items()))
    assert [status for status, _ in found] == [status for _, status in bodies.values()]
    assert await conn.fetchval("SELECT array_agg(id ORDER BY id) FROM users") == [1, 6, 7]
    assert [await read(client, n) for n in (1, 6, 7)] == [["B"], ["A"], ["B"]]


async def test_order_of_one_user(client: Client, writes: Writes) -> None:
    """Changes of one user that arrive together are made in the order in which they arrived."""
    await create(client, "A")
    steps = [add(1) if n % 2 == 0 else remove(1) for n in range(11)]
    done = await asyncio.gather(*(writes.change(step) for step in steps))
    assert done == [Changed(["A"], []) if n % 2 == 0 else Changed([], ["A"]) for n in range(11)]
    assert await read(client, 1) == ["A"]
    assert len(await history(client, 1)) == 11


@pytest.mark.parametrize("held", ["segment", "slug", "user"])
async def test_a_lock_holds_up_only_who_needs_it(
    client: Client, conn: Connection, other: Connection, writes: Writes, held: str
) -> None:
    """While a file, a deletion or another writer holds a lock, other changes are answered."""
    await create(client, "A")
    await create(client, "B")
    await change(client, 1, add=["A"])
    lock = {
        "segment": "SELECT FROM segment WHERE slug = 'B' FOR NO KEY UPDATE",
        "slug": """
            SELECT pg_advisory_xact_lock(1936026483, (hashtextextended('B', 0) & 255)::integer)
        """,
        "user": "SELECT FROM users WHERE id = 1 FOR UPDATE",
    }[held]
    async with other.transaction():
        await other.execute(lock)
        waiting = asyncio.gather(
            *(writes.change(step) for step in (add(1, "B"), remove(1, "B"), add(1, "B")))
        )
        async with asyncio.timeout(TIMEOUT):
            done = await asyncio.gather(*(writes.change(add(n)) for n in range(2, MANY)))
        assert done == [Changed(["A"], [])] * (MANY - 2)
        await lock_waits.state(conn)
        assert not waiting.done()
    assert await waiting == [Changed(["B"], []), Changed([], ["B"]), Changed(["B"], [])]


async def test_no_change_overtakes_one_that_waits(
    client: Client, other: Connection, writes: Writes
) -> None:
    """Of two changes of one user the second waits for the first, if that waits for a lock."""
    for slug in ("A", "B"):
        await create(client, slug)
    async with other.transaction():
        await other.execute("SELECT FROM segment WHERE slug = 'B' FOR NO KEY UPDATE")
        both = Change(1, {"A": Term(), "B": Term()}, ())
        changes = asyncio.gather(writes.change(both), writes.change(remove(1)))
        async with asyncio.timeout(TIMEOUT):
            while not writes.alone.asking:  # noqa: ASYNC110
                await asyncio.sleep(0)
    assert list(await changes) == [Changed(["A", "B"], []), Changed([], ["A"])]
    assert await read(client, 1) == ["B"]


async def test_a_client_that_leaves(client: Client, other: Connection, writes: Writes) -> None:
    """A cancelled change takes no other with it."""
    await create(client, "A")
    async with other.transaction():
        await other.execute("LOCK TABLE membership")
        changes = [asyncio.create_task(writes.change(add(n))) for n in range(1, 10)]
        await asyncio.sleep(0)
        for task in changes[::2]:
            task.cancel()
    done = await asyncio.gather(*changes, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in done[::2])
    assert done[1::2] == [Changed(["A"], [])] * 4


async def test_a_defect_is_alone(
    client: Client, writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If one change meets a defect of the service, the others are done."""
    for slug in ("A", "B"):
        await create(client, slug)

    def broken(terms: Mapping[str, Term], *rest: Any) -> dict[str, Bounds]:
        if "B" in terms:
            raise KeyError
        return bounds_of(terms, *rest)

    monkeypatch.setattr(store, "bounds_of", broken)
    steps = [add(n, "B" if n == 5 else "A") for n in range(1, 9)]
    done = await asyncio.gather(*(writes.change(step) for step in steps), return_exceptions=True)
    assert [n for n, each in enumerate(done, 1) if isinstance(each, KeyError)] == [5]
    assert [each for each in done if not isinstance(each, Exception)] == [Changed(["A"], [])] * 7


async def test_long_changes_go_by_themselves(client: Client, writes: Writes) -> None:
    """A change of many segments does not delay others; it is done, or refused, as they are."""
    slugs = [f"S{n}" for n in range(20)]
    for slug in slugs:
        await create(client, slug)
    terms = {slug: Term() for slug in slugs}
    assert await writes.change(Change(1, terms, ())) == Changed(sorted(slugs), [])
    with pytest.raises(SegmentsNotLive):
        await writes.change(Change(2, terms | {"NONE": Term()}, ()))


async def test_a_file_beside_changes(client: Client, conn: Connection, other: Connection) -> None:
    """While a file is applied, its users are changed in other segments, and others in any."""
    for slug in ("A", "B", "C"):
        await create(client, slug)
    await call(client, "POST", "/layers", 201, json={"slug": "L", "segments": ["A", "C"]})
    await change(client, 1, add=["B"])
    async with other.transaction():
        await other.execute("INSERT INTO users VALUES (9, now())")
        data = "".join(f"{n}\n" for n in range(1, 10))
        sent = call(client, "POST", "/segments/A/members/add", data=data, headers=CSV)
        file = asyncio.create_task(sent)
        await lock_waits.state(conn)  # at its last step, which makes its users known
        async with asyncio.timeout(TIMEOUT):
            await change(client, 1, remove=["B"])
            await change(client, 10, add=["B"])
        same, neighbour = (
            asyncio.create_task(change(client, 1, **body))
            for body in ({"remove": ["A"]}, {"add": ["C"], "on_conflict": "move"})
        )
        await lock_waits.state(
            conn, "SELECT count(*) = 2 FROM pg_locks WHERE NOT granted AND locktype <> 'relation'"
        )
        assert not same.done()
        assert not neighbour.done()
        assert not file.done()
    assert (await file)["changed"] == 9
    await asyncio.gather(same, neighbour)
    assert await read(client, 1) == ["C"]
