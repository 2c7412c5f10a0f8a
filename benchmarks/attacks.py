"""What reads of others cost under attack: one worker, attackers at its limits, one polite client.

Starts all of it and prints a table. Each attack runs alone, after a measurement without one.
"""

import asyncio
import gzip
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlsplit

import asyncpg
import reads
from aiohttp import ClientError, ClientSession, TCPConnector
from programs import database, service

from segsvc.auth import store
from segsvc.auth.roles import Role
from segsvc.db import embedded

SECONDS = 5
PROBES = 4  # connections of the polite client
JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}
GZIP = {"Content-Encoding": "gzip"}
ADD = "/api/v1/segments/SEG_1/members/add"
USERS = "/api/v1/users/segments"

Attack = Callable[[ClientSession], Awaitable[int]]


def sending(method: str, path: str, body: bytes = b"", **headers: str) -> Attack:
    async def attack(session: ClientSession) -> int:
        async with session.request(method, path, data=body, headers=headers) as response:
            await response.read()
            return response.status

    return attack


def object_of(members: int) -> bytes:
    return b"{" + b",".join(b'"%x":1' % n for n in range(members)) + b"}"


async def new_users(session: ClientSession) -> int:
    user_id = int.from_bytes(os.urandom(7)) + 1
    async with session.get(f"/api/v1/users/{user_id}/segments") as response:
        return response.status


async def long_list(session: ClientSession) -> None:
    async with session.get(ADD.removesuffix("/add"), headers={"Accept": "text/csv"}) as response:
        await response.read()


async def leave(session: ClientSession) -> int:
    """Ask for a long answer and leave at once."""
    asked = asyncio.create_task(long_list(session))
    await asyncio.sleep(0.01)
    asked.cancel()
    await asyncio.wait([asked])
    return 0


async def no_http(session: ClientSession) -> int:
    await raw(session, b"\x16\x03\x01\r\n\r\n", seconds=0)
    return 0


async def drip(session: ClientSession) -> int:
    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"1\n"
            await asyncio.sleep(1)

    async with session.post(ADD, data=body(), headers=CSV) as response:
        return response.status


async def raw(session: ClientSession, sent: bytes, seconds: float = SECONDS) -> int:
    """Open a connection, send something, and keep the connection open."""
    assert session._base_url  # noqa: SLF001
    address = urlsplit(str(session._base_url))  # noqa: SLF001
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(sent)
    with suppress(ConnectionError, TimeoutError):
        await asyncio.wait_for(reader.read(), seconds or None)
    writer.close()
    return 0


CONTEXT = b'{"context": {"targetingKey": "1"}}'
IDS = b",".join(b"%d" % n for n in range(1, 1001))
FEEDS = gzip.compress(b"\n" * 20_000_000, 9)

# Each attack, and by how many clients at once it is made.
ATTACKS: dict[str, tuple[int, Attack]] = {
    "files of line feeds in gzip": (4, sending("POST", ADD, FEEDS, **CSV, **GZIP)),
    "files of 1 MB, wrong": (4, sending("POST", ADD, b"x" * 2**20, **CSV)),
    "files that drip": (4, drip),
    "bodies of empty gzip members": (
        8, sending("POST", USERS, gzip.compress(b"") * 12_000, **JSON, **GZIP),
    ),
    "bodies of 25,000 unknown fields": (8, sending("POST", USERS, object_of(25_000), **JSON)),
    "bodies of a thousand wrong users": (
        8, sending("POST", USERS, b'{"user_ids":[' + b'"x",' * 999 + b"0]}", **JSON),
    ),
    "a thousand users in one request": (
        8, sending("POST", USERS, b'{"user_ids":[%s]}' % IDS, **JSON),
    ),
    "all flags": (
        16, sending("POST", "/ofrep/v1/evaluate/flags", CONTEXT, **JSON),
    ),
    "unknown users": (64, new_users),
    "forged links": (16, sending("GET", "/api/v1/reports/2026-01.csv?expires=9&signature=a")),
    "metrics": (16, sending("GET", "/metrics")),
    "documents": (16, sending("GET", "/openapi.json")),
    "wrong keys": (16, sending("GET", "/api/v1/users/1/segments", Authorization="Bearer a.b")),
    "lists whose clients leave": (8, leave),
    "silent clients": (1500, lambda session: raw(session, b"")),
    "half a head": (1500, lambda session: raw(session, b"GET / HTTP/1.1\r\nHost: a\r\n")),
    "what is not HTTP": (16, no_http),
}  # fmt: skip


async def probe(session: ClientSession) -> float:
    """Return the p99 of the hot reads of the polite client, in ms."""
    took: list[float] = []
    end = time.perf_counter() + SECONDS

    async def ask() -> None:
        while time.perf_counter() < end:
            began = time.perf_counter()
            user_id = 1 + len(took) % 10_000
            async with session.get(f"/api/v1/users/{user_id}/segments") as response:
                await response.read()
                assert response.status == 200, response.status  # noqa: PLR2004
            took.append(1000 * (time.perf_counter() - began))
            await asyncio.sleep(0.002)

    await asyncio.gather(*(ask() for _ in range(PROBES)))
    return quantiles(took, n=100)[98]


async def attack(url: str, key: str, name: str) -> None:
    """Attack for the time of a measurement and a second more; print the answers."""
    end = time.monotonic() + SECONDS + 1
    clients, once = ATTACKS[name]
    answers: Counter[int | str] = Counter()

    async def repeat(session: ClientSession) -> None:
        while time.monotonic() < end:
            try:
                answers[await once(session)] += 1
            except (ClientError, OSError) as error:
                answers[type(error).__name__] += 1
                await asyncio.sleep(0.01)

    headers = {"Authorization": f"Bearer {key}"}
    async with ClientSession(url, headers=headers, connector=TCPConnector(limit=0)) as session:
        await asyncio.wait(
            [asyncio.create_task(repeat(session)) for _ in range(clients)], timeout=SECONDS + 1
        )
    print(dict(answers))


async def measure(server: str) -> None:
    load = reads.LOAD.format(users=10_000, automatic=3, past=0)
    dsn = await database(server, "attacks", load)
    conn = await asyncpg.connect(dsn)
    keys = [await store.create(conn, name, Role.EDITOR) for name in ("polite", "attacker")]
    await conn.close()
    headers = {"Authorization": f"Bearer {keys[0]}"}
    with service(dsn, 8197, workers=1) as (url, _):
        async with ClientSession(url, headers=headers) as polite:
            print("| attack | p99, ms | to alone | answers to the attackers |\n|---|---|---|---|")
            for name in ATTACKS:
                alone = await probe(polite)
                attackers = await asyncio.create_subprocess_exec(
                    *(sys.executable, __file__, url, str(keys[1]), name),
                    stdout=asyncio.subprocess.PIPE,
                )
                await asyncio.sleep(1)
                under = await probe(polite)
                out, _ = await attackers.communicate()
                print(
                    f"| {name} | {under:.1f} | {under / alone:.1f} | {out.decode().strip()} |",
                    flush=True,
                )
                await asyncio.sleep(1)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(attack(*sys.argv[1:]))
    else:
        with (
            tempfile.TemporaryDirectory() as directory,
            embedded.running(Path(directory), exclusive=True) as server,
        ):
            asyncio.run(measure(server))
