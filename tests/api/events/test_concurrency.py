"""The feed beside everything that writes at once."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp.pytest_plugin import AiohttpClient

from segsvc.api.events import store
from segsvc.app import create_app
from segsvc.db.pool import Connection
from segsvc.http import BASE
from tests.api.events.replay import check_order, replay
from tests.conftest import SECRET, Client

SECONDS = 8
WRITERS = 16
NAMES = ["A", "B", "C", "D", "E", "F"]
USERS = range(1, 201)


async def send(client: Client, method: str, path: str, **sent: Any) -> int:
    """Send a request, and read its answer to the end."""
    response = await client.request(method, BASE + path, **sent)
    await response.read()
    assert response.status < 500 or response.status == 503, path
    return response.status


async def write(client: Client, rng: random.Random) -> None:
    """Change something at random; it may be refused."""
    slug, user_id = rng.choice(NAMES), rng.choice(USERS)
    soon = (datetime.now(UTC) + timedelta(milliseconds=rng.randrange(5, 300))).isoformat()
    headers = {"Content-Type": "text/csv"}
    body: dict[str, Any]
    match rng.randrange(12):
        case 0:
            percent = rng.choice([None, 0, 10, 40])
            await send(client, "PATCH", f"/segments/{slug}", json={"percent": percent})
        case 1:
            if rng.random() < 0.4:
                await send(client, "DELETE", f"/segments/{slug}")
            await send(client, "POST", "/segments", json={"slug": slug, "percent": 20})
        case 2:
            body = {"slug": "L", "segments": rng.sample(NAMES, 3), "redeal": True}
            if await send(client, "POST", "/layers", json=body) != 201:
                await send(client, "DELETE", "/layers/L?redeal=true")
        case 3:
            lines = "".join(f"{each}\n" for each in rng.sample(USERS, 60)).encode()
            way = rng.choice(["add?on_conflict=suspend", "remove", f"add?expires_at={soon[:-6]}Z"])
            path = f"/segments/{slug}/members/{way}"
            await send(client, "POST", path, data=lines, headers=headers)
        case 4:
            await send(client, "GET", f"/users/{rng.randrange(300, 5000)}/segments")
        case 5:
            body = {"remove": [slug]}
            await send(client, "POST", f"/users/{user_id}/segments", json=body)
        case 6:
            body = {"add": [slug], "starts_at": soon, "on_conflict": "move"}
            await send(client, "POST", f"/users/{user_id}/segments", json=body)
        case _:
            body = {
                "add": [slug],
                "expires_at": soon,
                "on_conflict": rng.choice(["move", "refuse"]),
            }
            await send(client, "POST", f"/users/{user_id}/segments", json=body)


async def follow(client: Client, limit: int, until: asyncio.Future[datetime]) -> list[str]:
    """Return the ids of the events from the first one to a horizon that is told later."""
    found: list[str] = []
    after = "2024-01-01T00:00:00Z"
    while True:
        query = {"after": after, "limit": str(limit), "wait": "1"}
        response = await client.get(f"{BASE}/events", params=query)
        page = await response.json()
        assert response.status == 200, page
        assert len(page["events"]) <= limit
        found += [event["id"] for event in page["events"]]
        after = page["next"]
        passed = datetime.fromisoformat(page["horizon"])
        if until.done() and not page["more"] and passed >= until.result():
            return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_followers_miss_nothing(
    aiohttp_client: AiohttpClient,
    dsn: str,
    conn: Connection,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """Two followers with small pages see every event once, beside 16 writers; it is the replay."""
    monkeypatch.setattr(store, "SCAN", 40)
    clients = [
        await aiohttp_client(create_app(dsn, secret=SECRET, anonymous=True)) for _ in range(2)
    ]
    for slug in NAMES:
        await send(clients[0], "POST", "/segments", json={"slug": slug})
    loop = asyncio.get_running_loop()
    until: asyncio.Future[datetime] = loop.create_future()
    followers = [
        asyncio.create_task(follow(client, limit, until))
        for client, limit in zip(clients, (7, 50), strict=True)
    ]
    end = loop.time() + SECONDS

    async def keep_writing(number: int) -> None:
        rng = random.Random(f"{seed} {number}")
        while loop.time() < end:
            await write(clients[number % 2], rng)

    await asyncio.gather(*map(keep_writing, range(WRITERS)))
    until.set_result(await conn.fetchval("SELECT clock_timestamp() + interval '400 ms'"))
    seen = [await follower for follower in followers]
    horizon: datetime = await conn.fetchval("SELECT horizon FROM feed")
    expected = await replay(conn, horizon)
    check_order(expected)
    assert len(expected) > 2000
    causes = {event.cause for event in expected}
    assert causes == {
        "added", "removed", "moved", "expired", "rollout", "layer", "segment_deleted"
    }  # fmt: skip
    for ids in seen:
        positions = [tuple(map(int, each.split("_"))) for each in ids]
        assert positions == sorted(set(positions))
        wanted = [event for event in expected if _key(event.id) <= positions[-1]]
        assert positions == [_key(event.id) for event in wanted]
        assert all(event.at >= until.result() for event in expected[len(wanted) :])


def _key(position: store.Position) -> tuple[int, int, int]:
    microseconds = (position.at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return microseconds, position.segment_id, position.user_id
