"""Sessions: nothing depends on the defaults of the database and the role."""

import asyncio
import os
import subprocess
import sys

import pytest
from yarl import URL

from segsvc.db import migrations
from segsvc.db.pool import Connection, session
from segsvc.db.session import SESSION
from tests import ROOT
from tests.api_calls import attempt, call, create, explain, history, members, read
from tests.conftest import HOSTILE, HOSTILE_DEFAULTS, Client, Databases, make_hostile
from tests.processes import run

CSV = {"Content-Type": "text/csv"}


@pytest.fixture
async def hostile(dsn: str, admin: Connection) -> str:
    """A database whose defaults are all hostile."""
    await make_hostile(dsn, admin)
    return dsn


async def test_hostile_defaults(hostile: str, client: Client, admin: Connection) -> None:
    """Eight clients at once, files, lists, reports and checks work as on any other database."""
    await create(client, "A", 50)
    await create(client, "B")
    file = "".join(f"{user}\n" for user in range(1, 2001))

    async def write(first: int) -> None:
        for user in range(first, first + 20):
            for _ in range(2):
                status, answer = await attempt(client, user, add=["A", "B"], ttl=60)
                assert status == 200, answer
            assert await read(client, user) == ["A", "B"]

    same = [write(1) for _ in range(4)] + [write(1 + 100 * n) for n in range(4)]
    await asyncio.gather(*same)
    path = "/segments/B/members/add"
    assert (await call(client, "POST", path, data=file, headers=CSV))["received"] == 2000
    assert len(await members(client, "B")) == 1000
    listed = await client.get("/api/v1/segments/B/members", headers={"Accept": "text/csv"})
    lines = (await listed.text()).splitlines()
    assert (lines[0], len(lines)) == ("user_id,source,since,expires_at", 2001)
    assert len(await history(client, 1)) == 2
    assert (await explain(client, 1))["A"]["source"] == "manual"
    now = await admin.fetchval("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')")
    link = await call(client, "POST", "/reports", 201, json={"period": now})
    report = (await (await client.get(URL(link["url"]).relative())).text()).splitlines()
    assert len([line for line in report if ";B;add;" in line]) == 2000
    for command in (["check"], ["report", now], ["prune", "--before", now]):
        ended = run(*command, database_url=hostile)
        assert (ended.returncode, ended.stderr) == (0, "")


async def test_migrations_on_hostile_defaults(
    new_database: Databases, template: str, admin: Connection
) -> None:
    """The migrator makes the same tables in the same place."""
    assert template
    dsn = await new_database()
    await make_hostile(dsn, admin)
    assert migrations.migrate(dsn) == migrations.known()
    async with session(dsn) as conn:
        places = "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename IN ('users', 'segment')"
        assert await conn.fetchval(places) == "public"


async def test_every_setting_is_pinned(hostile: str) -> None:
    """A session has the values of the service, except those of a later version."""
    async with session(hostile) as conn:
        known = {row[0].lower() for row in await conn.fetch("SELECT name FROM pg_settings")}
        for name in SESSION.keys() & known:
            shown = await conn.fetchval("SELECT current_setting($1)", name)
            expected = {"statement_timeout": "1h"}.get(name, SESSION[name])
            assert shown == expected, name
        assert HOSTILE.keys() - SESSION.keys() < known  # the others only slow it down


@pytest.mark.slow
def test_scenarios_of_the_api() -> None:
    """The tests of users, reports, lists and OpenFeature pass on hostile defaults too."""
    tests = ["tests/api/users", "tests/api/reports", "tests/api/ofrep"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    # It has a connection of its own, which waits for longer than these defaults allow.
    command += ["--deselect", "tests/api/users/test_model.py"]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {HOSTILE_DEFAULTS: "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-5000:]
