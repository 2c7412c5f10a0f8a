"""Pages of the feed against the stays that they come from."""

import random
from datetime import datetime

import pytest

from segsvc.api.events import store
from segsvc.api.events.store import Position
from segsvc.db.pool import Connection
from segsvc.http.fields import EARLIEST
from tests.api.events.replay import check_order, follow, replay
from tests.conftest import Client
from tests.histories import make

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
