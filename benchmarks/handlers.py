"""What a read is measured against: handlers of the same path, in as many processes.

`bare` answers a constant of the same size; `one_query` runs the statement for each request, on a
connection from a pool. Started as a program: handler, port, processes, database.
"""

import asyncio
import os
import sys

import uvloop
from aiohttp import web

from segsvc.api.users import store
from segsvc.api.users.schemas import USER_SEGMENTS
from segsvc.db.pool import Pool, connection
from segsvc.http.app_keys import POOL
from segsvc.http.responses import json_response
from segsvc.settings import DEFAULT_LIMITS

BODY = b'{"user_id": 50000, "segments": ["SEG_1", "SEG_4", "SEG_7"]}\n'


async def bare(request: web.Request) -> web.Response:
    del request
    return web.Response(body=BODY, content_type="application/json")


async def one_query(request: web.Request) -> web.Response:
    user_id = int(request.match_info["user_id"])
    async with connection(request.app[POOL]) as conn:
        (row,) = await store.fetch_at(conn, [user_id])
    return json_response(USER_SEGMENTS, {"user_id": user_id, "segments": row["segments"]})


async def serve(handler: str, port: int, dsn: str) -> None:
    app = web.Application()
    app[POOL] = Pool(dsn, DEFAULT_LIMITS)
    app.router.add_get("/api/v1/users/{user_id}/segments", {"bare": bare}.get(handler, one_query))
    runner = web.AppRunner(app, access_log=None)
    async with app[POOL]:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_port=True).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    name, port, processes, dsn = sys.argv[1:]
    for _ in range(int(processes) - 1):
        if os.fork() == 0:
            break
    uvloop.run(serve(name, int(port), dsn))
