"""Pages of the feed against the stays that they come from."""

import random
from datetime import datetime

import pytest

from segsvc.api.events import store
from segsvc.api.events.store import Position
from segsvc.db.pool import Connection
from segsvc.http.fields import EARLIEST
from tests.api.events.replay import check_order, follow, replay
from tests.api_calls import call, change, create, delete, read_many
from tests.conftest import Client
from tests.histories import make, put_in

START = Position(EARLIEST)


@pytest.mark.parametrize("seed", range(4))
async def test_pages_are_the_stays(
    client: Client, conn: Connection, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """With any size of the pages and of the steps, together they have every event once."""
    rng = random.Random(seed)
    await make(client, conn, rng)
    horizon: datetime = await conn.fetchval("SELECT clock_timestamp()")
    expected = await replay(conn, horizon)
    assert len(expected) > 500
    check_order(expected)
    for scan, limit in ((1000, 1000), (1000, 7), (50, 100), (7, 1000), (2, 3)):
        monkeypatch.setattr(store, "SCAN", scan)
        assert await follow(conn, START, horizon, limit) == expected
    monkeypatch.setattr(store, "SCAN", 20)
    of_some = [event for event in expected if event.slug in {"A", "C"}]
    assert await follow(conn, START, horizon, 30, ["A", "C"]) == of_some
    for place in rng.sample(range(len(expected)), 5):
        left = await follow(conn, expected[place].id, horizon, 500)
        assert left == expected[place + 1 :]


async def test_layers(client: Client, conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that is formed, changed and dissolved moves many users at one instant."""
    for slug, percent in (("A", None), ("B", 30), ("C", 40)):
        await create(client, slug, percent)
    await read_many(client, range(1, 101))
    await put_in(client, "A", *range(1, 41))
    await put_in(client, "B", *range(21, 61))
    layer = {"slug": "L", "segments": ["A", "B"], "redeal": True}
    await call(client, "POST", "/layers", 201, json=layer)
    await put_in(client, "A", *range(31, 71), on_conflict="suspend")
    await call(client, "PATCH", "/layers/L", json={"add": ["C"], "redeal": True})
    await call(client, "PATCH", "/layers/L", json={"remove": ["B"], "redeal": True})
    await put_in(client, "C", *range(1, 51), on_conflict="suspend")
    assert (await client.delete("/api/v1/layers/L?redeal=true")).status == 204
    await delete(client, "A")
    await create(client, "A", 50)
    await put_in(client, "A", *range(1, 11))
    horizon: datetime = await conn.fetchval("SELECT clock_timestamp()")
    expected = await replay(conn, horizon)
    check_order(expected)
    assert len([event for event in expected if event.cause == "layer"]) > 50
    for scan, limit in ((1000, 1000), (20, 9), (3, 1000)):
        monkeypatch.setattr(store, "SCAN", scan)
        assert await follow(conn, START, horizon, limit) == expected


async def test_many_periods_of_one_user(
    client: Client, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a user with more periods than a step looks at, the last one counts as the first one."""
    await create(client, "A")
    for _ in range(6):
        await change(client, 5, add=["A"])
        await change(client, 5, remove=["A"])
    await change(client, 5, add=["A"])
    await change(client, 6, add=["A"])
    await delete(client, "A")
    horizon: datetime = await conn.fetchval("SELECT clock_timestamp()")
    expected = await replay(conn, horizon)
    assert [event.cause for event in expected[-2:]] == ["segment_deleted"] * 2
    monkeypatch.setattr(store, "SCAN", 3)
    assert await follow(conn, START, horizon, 100) == expected


async def test_large_layer(
    client: Client, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in one of many segments of a layer is read in some pages, and not in some for each."""
    slugs = [f"S{number}" for number in range(30)]
    for slug in slugs:
        await create(client, slug)
        await put_in(client, slug, 1)
    await call(client, "POST", "/layers", 201, json={"slug": "L", "segments": slugs})
    start: datetime = await conn.fetchval("SELECT clock_timestamp()")
    await put_in(client, "S7", *range(1, 1001), on_conflict="suspend")
    horizon: datetime = await conn.fetchval("SELECT clock_timestamp()")
    monkeypatch.setattr(store, "SCAN", 100)
    position, events, pages = Position(start), [], 0
    while position.at < horizon:
        found, position = await store.list_page(conn, position, horizon, 1000, None)
        events += found
        pages += 1
    assert events == [event for event in await replay(conn, horizon) if event.at >= start]
    assert len(events) == 1001  # one user was in another segment
    assert pages <= 5
