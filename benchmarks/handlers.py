"""What a read is measured against: handlers of the same path, in as many processes.

`bare` answers a constant of the same size; `minimal` is the one of minimal.py. Started as a
program: handler, port, processes, database.
"""

import asyncio
import os
import sys

import minimal
import uvloop
from aiohttp import web

BODY = b'{"user_id": 50000, "segments": ["SEG_1", "SEG_4", "SEG_7"]}\n'


async def bare(request: web.Request) -> web.Response:
    del request
    return web.Response(body=BODY, content_type="application/json")


async def application(handler: str, dsn: str) -> web.Application:
    if handler == "minimal":
        return await minimal.application(dsn)
    app = web.Application()
    app.router.add_get("/api/v1/users/{user_id}/segments", bare)
    return app


async def serve(handler: str, port: int, dsn: str) -> None:
    runner = web.AppRunner(await application(handler, dsn), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_port=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    name, port, processes, dsn = sys.argv[1:]
    for _ in range(int(processes) - 1):
        if os.fork() == 0:
            break
    uvloop.run(serve(name, int(port), dsn))
