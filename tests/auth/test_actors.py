"""Actors: each period and rollout has the names of the keys that opened and closed it."""

from datetime import timedelta
from typing import Any

import pytest
from aiohttp.pytest_plugin import AiohttpClient

from segsvc.app import create_app
from segsvc.auth import store
from segsvc.auth.roles import Role
from segsvc.db.pool import Connection
from tests.clock import pass_time
from tests.conftest import SECRET, Client

A = "/api/v1/segments/A"
CSV = {"Content-Type": "text/csv"}


class Analysts:
    """Two analysts, each with a key, who call one service."""

    def __init__(self, client: Client, keys: dict[str, str]) -> None:
        self.client = client
        self.keys = keys

    async def do(self, name: str, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.keys[name]}"}
        content = {"data": body} if isinstance(body, bytes) else {"json": body}
        if isinstance(body, bytes):
            headers |= CSV
        response = await self.client.request(method, path, headers=headers, **content)
        assert response.status < 300, await response.text()
        return await response.json() if response.status != 204 else None

    async def events(self, user_id: int) -> list[tuple[str, str, str | None]]:
        path = f"/api/v1/users/{user_id}/history"
        events = (await self.do("ann", "GET", path))["events"]
        return [(event["operation"], event["cause"], event["actor"]) for event in events]

    async def actors(self, user_id: int) -> list[tuple[str, str | None]]:
        path = f"/api/v1/users/{user_id}/memberships"
        reasons = (await self.do("ann", "GET", path))["memberships"]
        return [(reason["state"], reason["actor"]) for reason in reasons]


@pytest.fixture
async def analysts(aiohttp_client: AiohttpClient, dsn: str, conn: Connection) -> Analysts:
    keys = {}
    for name in ("ann", "bob"):
        key = await store.create(conn, name, Role.EDITOR)
        assert key
        keys[name] = key
    analysts = Analysts(await aiohttp_client(create_app(dsn, secret=SECRET)), keys)
    await analysts.do("ann", "POST", "/api/v1/segments", {"slug": "A"})
    return analysts


USER = "/api/v1/users/{}/segments"


async def test_by_hand(analysts: Analysts) -> None:
    """Additions and removals have the name of the key, for one user and for a file."""
    for user_id, add, remove in (
        (1, (USER.format(1), {"add": ["A"]}), (USER.format(1), {"remove": ["A"]})),
        (2, (f"{A}/members/add", b"2\n"), (f"{A}/members/remove", b"2\n")),
    ):
        assert await analysts.actors(user_id) == []
        await analysts.do("bob", "PATCH", A, {"percent": 100})
        await analysts.do("ann", "POST", *remove)
        assert await analysts.actors(user_id) == [("excluded", "ann")]
        await analysts.do("bob", "POST", *add)
        assert await analysts.actors(user_id) == [("included", "bob")]
        await analysts.do("ann", "POST", *remove)
        assert await analysts.events(user_id) == [
            ("add", "rollout", "bob"),
            ("remove", "removed", "ann"),
            ("add", "added", "bob"),
            ("remove", "removed", "ann"),
        ]
        await analysts.do("ann", "PATCH", A, {"percent": None})


async def test_ends_that_were_set_in_advance(analysts: Analysts, conn: Connection) -> None:
    """An expiry has the name of the key that set it last, and no name if it was lifted."""
    for user_id, path, body in (
        (1, USER.format(1), {"add": ["A"], "ttl": 60}),
        (2, f"{A}/members/add?ttl=60", b"2\n"),
    ):
        await analysts.do("ann", "POST", path, body)
        await analysts.do("bob", "POST", path, body)
        await pass_time(conn, timedelta(minutes=2))
        assert await analysts.events(user_id) == [
            ("add", "added", "ann"),
            ("remove", "expired", "bob"),
        ]
        await analysts.do("ann", "POST", path, body)
        lifted = {"add": ["A"]} if user_id == 1 else body
        await analysts.do("bob", "POST", path.partition("?")[0], lifted)
        closers = "SELECT closed_by FROM membership WHERE user_id = $1 ORDER BY valid_from"
        assert [row[0] for row in await conn.fetch(closers, user_id)] == ["bob", None]


async def test_percentages_and_segments(analysts: Analysts, conn: Connection) -> None:
    """Changes of percentages and segments have names; becoming known has none."""
    await analysts.do("ann", "GET", USER.format(1))
    await analysts.do("bob", "PATCH", A, {"percent": 100})
    assert await analysts.actors(1) == [("included", "bob")]
    await analysts.do("ann", "PATCH", A, {"percent": 0})
    await analysts.do("bob", "PATCH", A, {"percent": 100})
    assert await analysts.actors(2) == [("included", "bob")]
    await analysts.do("ann", "DELETE", A)
    await analysts.do("bob", "POST", "/api/v1/segments", {"slug": "A", "percent": 100})
    assert await analysts.events(1) == [
        ("add", "rollout", "bob"),
        ("remove", "rollout", "ann"),
        ("add", "rollout", "bob"),
        ("remove", "segment_deleted", "ann"),
        ("add", "rollout", "bob"),
    ]
    assert (await analysts.events(2))[:2] == [
        ("add", "rollout", None),
        ("remove", "segment_deleted", "ann"),
    ]
    rows = await conn.fetch("SELECT created_by, deleted_by FROM segment ORDER BY id")
    assert [tuple(row) for row in rows] == [("ann", "ann"), ("bob", None)]
    rows = await conn.fetch("SELECT opened_by, closed_by FROM rollout ORDER BY valid_from")
    assert [tuple(row) for row in rows] == [
        ("bob", "ann"),
        ("ann", "bob"),
        ("bob", "ann"),
        ("bob", None),
    ]


async def test_no_actor_without_a_key(client: Client) -> None:
    """Where no key is needed, there is no name."""
    await client.post("/api/v1/segments", json={"slug": "A"})
    await client.post(USER.format(1), json={"add": ["A"]})
    events = (await (await client.get("/api/v1/users/1/history")).json())["events"]
    assert [event["actor"] for event in events] == [None]
