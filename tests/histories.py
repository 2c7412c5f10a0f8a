"""Random histories of segments: lists, ends, percentages and a layer."""

import random
from datetime import timedelta
from typing import Any

from segsvc.db.pool import Connection
from tests.api_calls import call, create, read_many, set_percent
from tests.clock import pass_time
from tests.conftest import Client

USERS = range(1, 301)
NAMES = ["A", "B", "C", "D", "E"]
STEPS = 16


async def put_in(client: Client, slug: str, *user_ids: int, **query: str) -> Any:
    """Add a file of users to a segment."""
    body = "".join(f"{user_id}\n" for user_id in user_ids).encode()
    path, headers = f"/segments/{slug}/members/add", {"Content-Type": "text/csv"}
    return await call(client, "POST", path, data=body, headers=headers, params=query)


async def make(
    client: Client, conn: Connection, rng: random.Random, hours: tuple[int, int] = (1, 4)
) -> None:
    """Make a history of five segments and their users, with so many hours between its steps."""
    for slug in NAMES:
        await create(client, slug, rng.choice([None, 30]))
    await read_many(client, USERS[:200])
    for step in range(STEPS):
        slug = rng.choice(NAMES)
        if step == STEPS // 2:
            body = {"slug": "L", "segments": rng.sample(NAMES, 3), "redeal": True}
            response = await client.post("/api/v1/layers", json=body)
            assert response.status == 201, await response.text()
            await response.read()
        match rng.randrange(6):
            case 0:
                percent = rng.choice([None, 0, 20, 30.5])
                await set_percent(client, slug, percent)
            case 1:
                body = {"from": {"all_of": [rng.choice(NAMES)]}}
                await call(client, "POST", f"/segments/{slug}/members/remove", json=body)
            case 2:
                await read_many(client, USERS)
            case kind:
                length = rng.randrange(1, 5) * hours[1]
                ends = {"ttl": str(length * 3600)} if kind == 3 else {}
                chosen = rng.sample(USERS, 60)
                await put_in(client, slug, *chosen, on_conflict="suspend", **ends)
        await pass_time(conn, timedelta(hours=rng.uniform(*hours)))
