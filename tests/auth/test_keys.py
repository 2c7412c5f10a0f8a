"""Keys: who may use the service, and for what."""

import asyncio
from pathlib import Path

import pytest
from aiohttp.pytest_plugin import AiohttpClient
from aiohttp.web import AppRunner

from segsvc.app import RESOURCES, create_app
from segsvc.auth import store
from segsvc.auth.keys import LOOKUP_INTERVAL, REFRESH_INTERVAL, AnonymousRefused
from segsvc.auth.roles import Role
from segsvc.db.pool import Connection
from tests.conftest import SECRET, Client
from tests.processes import run, serving

SEGMENTS = "/api/v1/segments"
USER = "/api/v1/users/1/segments"


def authorization(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def new_key(conn: Connection, name: str, role: str) -> str:
    key = await store.create(conn, name, Role(role))
    assert key
    return key


@pytest.fixture
async def keys(conn: Connection) -> dict[str, str]:
    return {role: await new_key(conn, f"a-{role}", role) for role in Role}


@pytest.fixture
async def guarded(aiohttp_client: AiohttpClient, dsn: str, keys: dict[str, str]) -> Client:
    assert keys
    return await aiohttp_client(create_app(dsn, secret=SECRET))


@pytest.mark.parametrize("header", ["Bearer ann.\udcff", "Bearer \udcff.a", "Bearer é", "\udcff"])
async def test_key_that_is_not_ascii(guarded: Client, header: str) -> None:
    """A header with any bytes is refused like any other wrong key."""
    reader, writer = await asyncio.open_connection(guarded.host, guarded.port)
    head = f"GET {USER} HTTP/1.1\r\nHost: a\r\nAuthorization: {header}\r\n\r\n"
    writer.write(head.encode(errors="surrogateescape"))
    answer = await asyncio.wait_for(reader.readline(), 20)
    writer.close()
    assert b" 401 " in answer


async def test_each_route_wants_its_role(guarded: Client, keys: dict[str, str]) -> None:
    """Without a key only what is open is done; each role does what it is for, an editor all."""
    for resource in RESOURCES:
        for route in resource:
            without, reader = route.role is None, route.role in {None, Role.READER}
            follower = route.role is not Role.EDITOR
            parts = {"slug": "A", "key": "A", "user_id": 1, "period": "2024-02", "file": "start.js"}
            path = route.path.format(**parts)
            for headers, allowed, refusal in (
                ({}, without, 401),
                (authorization(keys["reader"]), reader, 403),
                (authorization(keys["follower"]), follower, 403),
                (authorization(keys["editor"]), True, None),
            ):
                response = await guarded.request(route.method, path, headers=headers)
                kind = (await response.json())["type"] if response.status in {401, 403} else ""
                ours = kind.endswith(("key-required", "editor-required", "follower-required"))
                assert ours is not allowed, (route, headers)
                assert allowed or response.status == refusal


async def test_refusals_say_what_is_missing(guarded: Client, keys: dict[str, str]) -> None:
    """A 401 names the header to send, a 403 the role; neither repeats the key."""
    wrong = [
        {},
        {"Authorization": ""},
        {"Authorization": f"Basic {keys['editor']}"},
        authorization(""),
        authorization("a-editor"),
        authorization("a-editor."),
        authorization(keys["editor"][:-1]),
        authorization(keys["editor"] + "x"),
        authorization(keys["editor"].replace("a-editor", "a-reader")),
        authorization("nobody." + keys["editor"].partition(".")[2]),
        authorization("ü.ü"),
        authorization("x" * 4000),
    ]
    for headers in wrong:
        response = await guarded.get(USER, headers=headers)
        assert response.status == 401, headers
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert keys["editor"].partition(".")[2] not in await response.text()
    assert "Authorization: Bearer" in (await (await guarded.get(USER)).json())["detail"]
    refused = await guarded.get(SEGMENTS, headers=authorization(keys["reader"]))
    assert "reader" in (await refused.json())["detail"]


async def test_unknown_addresses_are_not_found(guarded: Client) -> None:
    """What is not there is not there, key or no key."""
    assert (await guarded.get("/api/v1/none")).status == 404
    assert (await guarded.put(SEGMENTS)).status == 405


async def test_new_key_works_at_once(guarded: Client, conn: Connection) -> None:
    """A key that was created a moment ago is good."""
    for n in range(3):
        key = await new_key(conn, f"new-{n}", "reader")
        await asyncio.sleep(LOOKUP_INTERVAL)  # the most that strangers are made to wait for
        assert (await guarded.get(USER, headers=authorization(key))).status == 200


async def test_revoked_key_is_dead_within_seconds(
    guarded: Client, conn: Connection, keys: dict[str, str]
) -> None:
    """After a revocation the key is refused, and no other."""
    assert await store.revoke(conn, "a-editor")
    async with asyncio.timeout(REFRESH_INTERVAL + 2):
        while (await guarded.get(USER, headers=authorization(keys["editor"]))).status != 401:
            pass
    assert (await guarded.get(USER, headers=authorization(keys["reader"]))).status == 200


async def test_keys_cost_no_query(guarded: Client, conn: Connection, keys: dict[str, str]) -> None:
    """Checking good keys, and many wrong ones, asks the database nothing."""
    for name in ("known", "unknown"):
        key = keys["reader"] if name == "known" else "nobody.x"
        await guarded.get(USER, headers=authorization(key))
        before = await conn.fetchval(SCANS)
        began = asyncio.get_running_loop().time()
        for _ in range(50):
            await guarded.get(SEGMENTS, headers=authorization(key))
        took = asyncio.get_running_loop().time() - began
        assert await conn.fetchval(SCANS) - before <= 2 + took / LOOKUP_INTERVAL


# Scans of the table, which PostgreSQL tells with a delay of a second at most.
SCANS = """
    SELECT pg_stat_get_numscans('api_key'::regclass) FROM pg_stat_force_next_flush()
"""


async def test_open_until_the_first_key(client: Client, conn: Connection) -> None:
    """Without any key everything is open; from the first one on nothing is, even if it goes."""
    assert (await client.get(SEGMENTS)).status == 200
    await new_key(conn, "first", "editor")
    async with asyncio.timeout(REFRESH_INTERVAL + 2):
        while (await client.get(SEGMENTS)).status != 401:
            pass
    await store.revoke(conn, "first")
    await asyncio.sleep(REFRESH_INTERVAL + 0.5)
    assert (await client.get(SEGMENTS)).status == 401


async def test_no_key_and_not_anonymous(dsn: str) -> None:
    """The application does not start open unless it is told that it may."""
    with pytest.raises(AnonymousRefused):
        await AppRunner(create_app(dsn, secret=SECRET)).setup()


async def test_secrets_are_not_stored(conn: Connection, keys: dict[str, str]) -> None:
    """The database holds a hash of the secret, and nothing that opens anything."""
    stored = str(await conn.fetch("SELECT * FROM api_key"))
    for key in keys.values():
        assert key.partition(".")[2] not in stored
    assert len(set(keys.values())) == 3


@pytest.mark.slow
def test_commands(dsn: str) -> None:
    """Keys are created, shown once, listed and revoked on the command line, and used by it."""

    def keys(*arguments: str) -> tuple[int, str, str]:
        done = run("keys", *arguments, database_url=dsn)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    _, key, _ = keys("create", "backend", "--role", "reader")
    editor = keys("create", "analyst", "--role", "editor")[1].strip()
    assert key.startswith("backend.")
    assert keys("create", "backend", "--role", "editor")[0] == 1
    assert keys("create", "1x", "--role", "editor")[0] == 2
    assert keys("create", "x")[0] == 2
    listed = keys("list")[1]
    assert [line.split()[:2] for line in listed.splitlines()] == [
        ["analyst", "editor"],
        ["backend", "reader"],
    ]
    assert key.strip().partition(".")[2] not in listed
    assert keys("revoke", "backend")[0] == 0
    assert keys("revoke", "backend")[0] == 1
    assert keys("revoke", "nobody")[0] == 1
    assert "revoked 20" in keys("list")[1]
    assert keys("create", "backend", "--role", "reader")[0] == 1
    with serving(database_url=dsn) as (url, _):
        assert run("segments", "list", url=url).returncode == 1
        assert run("segments", "create", "A", url=url, key=editor).returncode == 0


@pytest.mark.slow
def test_other_addresses_want_a_key(dsn: str, tmp_path: Path) -> None:
    """At an address that others reach the service starts with a key, or told to do without."""
    refused = run("serve", host="0.0.0.0", port="1", database_url=dsn)  # noqa: S104
    assert refused.returncode == 1
    assert "SEGSVC_ALLOW_ANONYMOUS" in refused.stderr
    assert "segsvc keys create" in refused.stderr
    told = {"host": "0.0.0.0", "allow_anonymous": "1", "database_url": dsn}  # noqa: S104
    with serving(tmp_path / "log", **told):
        pass
    assert "open to everyone" in (tmp_path / "log").read_text()
    run("keys", "create", "first", "--role", "editor", database_url=dsn)
    with serving(host="0.0.0.0", database_url=dsn):  # noqa: S104
        pass
