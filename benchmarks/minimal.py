"""The hot read in thirty lines: what aiohttp and the statement cost, without a service around them.

It sends the statement of the service in the same batches: what arrives while a query runs goes
together. There are no keys, ids, metrics, problems, and no limits; new users stay unknown.
"""

import asyncio

import asyncpg
from aiohttp import web

from segsvc.api.users.store import LIST_AT
from segsvc.db.session import KEPT_SESSION, at_start, pin

waiting: list[tuple[int, asyncio.Future[list[str]]]] = []
query = web.AppKey("query", asyncio.Lock)
conn = web.AppKey("conn", asyncpg.Connection)


async def list_user_segments(request: web.Request) -> web.Response:
    user_id = int(request.match_info["user_id"])
    answer = asyncio.get_running_loop().create_future()
    waiting.append((user_id, answer))
    if len(waiting) == 1:
        asyncio.create_task(fetch(request.app))  # noqa: RUF006 (the lock keeps it)
    segments = ", ".join([f'"{slug}"' for slug in await answer])
    body = f'{{"user_id": {user_id}, "segments": [{segments}]}}\n'.encode()
    return web.Response(body=body, content_type="application/json")


async def fetch(app: web.Application) -> None:
    async with app[query]:
        batch = waiting.copy()
        waiting.clear()
        rows = await app[conn].fetch(LIST_AT, [user_id for user_id, _ in batch], None)
        for (_, answer), row in zip(batch, rows, strict=True):
            answer.set_result(row["segments"])


async def application(dsn: str) -> web.Application:
    app = web.Application()
    app[query] = asyncio.Lock()
    app[conn] = await asyncpg.connect(dsn, server_settings=at_start(KEPT_SESSION))
    await pin(app[conn], KEPT_SESSION)
    app.router.add_get("/api/v1/users/{user_id}/segments", list_user_segments)
    return app
