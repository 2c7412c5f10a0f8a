"""A real PostgreSQL for the tests, and a separate database for each test."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from aiohttp.pytest_plugin import AiohttpClient
from aiohttp.test_utils import TestClient
from aiohttp.web import Application, Request

from segsvc.app import create_app
from segsvc.db import embedded, migrations
from segsvc.db.pool import Connection
from segsvc.db.session import MIGRATION_SESSION, pin

Client = TestClient[Request, Application]

# A server that runs already and may be filled with databases; unset, an embedded one is started.
SERVER = "SEGSVC_TEST_DATABASE_URL"
UNSAFE_AND_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# If this variable is set, the databases of the tests have these defaults. Each is allowed to every
# role, and breaks something or changes an answer where a session does not pin it.
HOSTILE_DEFAULTS = "SEGSVC_TEST_HOSTILE"
HOSTILE = {
    "default_transaction_isolation": "repeatable read",
    "default_transaction_deferrable": "on",
    "synchronous_commit": "off",
    "search_path": "hostile",
    "row_security": "off",
    "timezone": "Asia/Tokyo",
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "client_min_messages": "log",
    "trace_sort": "on",
    "exit_on_error": "on",
    "statement_timeout": "1ms",
    "transaction_timeout": "100ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "200ms",
    "lock_timeout": "1ms",
    "jit": "on",
    "jit_above_cost": "0",
    "work_mem": "64kB",
}

SECRET = "a secret of the tests"  # noqa: S105

_numbers = count(1)


def database_url(server: str, name: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def database_name(url: str) -> str:
    return urlsplit(url).path[1:]


def of_role(url: str, role: str) -> str:
    """Return the URL of a database with another role than that of the tests."""
    return url.replace("postgres:@", f"{role}@").replace("postgres@", f"{role}@")


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    if url := os.environ.get(SERVER):
        yield url
        return
    configuration = {**embedded.CONFIGURATION, **UNSAFE_AND_FAST}
    # Outside the folder of pytest: each start of pytest closes that folder to other users, such as
    # the user that the server runs as if root runs the tests.
    with (
        TemporaryDirectory(prefix="segsvc-tests-") as folder,
        embedded.running(Path(folder), exclusive=True, configuration=configuration) as url,
    ):
        yield url


@pytest.fixture(scope="session")
async def admin(server: str) -> AsyncIterator[Connection]:
    conn = await asyncpg.connect(server)
    yield conn
    await conn.close()


Databases = Callable[..., Awaitable[str]]


@pytest.fixture(scope="session")
async def new_database(server: str, admin: Connection) -> AsyncIterator[Databases]:
    """Make databases, empty or copies of another, that are dropped at the end."""
    made = []

    async def make(template: str = "template0") -> str:
        name = f"segsvc_test_{os.getpid()}_{next(_numbers)}"
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        made.append(name)
        return database_url(server, name)

    yield make
    for name in reversed(made):
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def make_hostile(dsn: str, admin: Connection) -> None:
    """Give a database, and the role of the tests in it, defaults that break what relies on others.

    Those of the role hold where both are set.
    """
    name = database_name(dsn)
    known = {row[0].lower() for row in await admin.fetch("SELECT name FROM pg_settings")}
    for setting, value in HOSTILE.items():
        if setting in known:
            await admin.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    for setting, value in (("default_transaction_isolation", "serializable"), ("timezone", "CET")):
        await admin.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET {setting} = '{value}'")


@pytest.fixture(scope="session")
async def template(new_database: Databases) -> str:
    dsn = await new_database()
    migrations.migrate(dsn)
    return database_name(dsn)


@pytest.fixture
async def dsn(new_database: Databases, template: str, admin: Connection) -> AsyncIterator[str]:
    url = await new_database(template)
    if HOSTILE_DEFAULTS in os.environ:
        await make_hostile(url, admin)
    yield url
    await admin.execute(f"DROP DATABASE IF EXISTS {database_name(url)} WITH (FORCE)")


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[Connection]:
    conn = await asyncpg.connect(dsn, server_settings={"statement_timeout": "0"})
    await pin(conn, MIGRATION_SESSION)
    yield conn
    await conn.close()


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, dsn: str) -> Client:
    return await aiohttp_client(create_app(dsn, secret=SECRET, anonymous=True))


@pytest.fixture(scope="session")
async def crowd(new_database: Databases, template: str) -> str:
    """A database with a million periods: 200 thousand users in 5 of 10 thousand segments each.

    A thousand segments are in a hundred layers.
    """
    dsn = await new_database(template)
    conn = await asyncpg.connect(dsn)
    await conn.execute("""
        INSERT INTO segment (slug, description, created_at)
        SELECT 'SEG_' || n, '', '2026-01-01' FROM generate_series(1, 10000) AS n;
        INSERT INTO rollout (segment_id, percent, salt, points, valid_from, valid_to)
        SELECT
            s, 10, 'SEG_' || s, rollout_points(10), timestamptz '2026-01-01' + d * interval '1 day',
            CASE d WHEN 19 THEN 'infinity' ELSE timestamptz '2026-01-02' + d * interval '1 day' END
        FROM generate_series(1, 20) AS s, generate_series(0, 19) AS d;
        INSERT INTO rollout (segment_id, percent, salt, points, valid_from, valid_to)
        SELECT s, 10, 'SEG_' || s, rollout_points(10), timestamptz '2026-01-01', '2026-01-02'
        FROM generate_series(21, 9000) AS s;
        INSERT INTO users (id, first_seen_at)
        SELECT n, '2026-01-01' FROM generate_series(1, 200000) AS n;
        INSERT INTO membership (user_id, segment_id, included, valid_from)
        SELECT u, CASE s WHEN 0 THEN 1 ELSE 1 + (u + 2000 * s) % 10000 END, TRUE, '2026-01-02'
        FROM generate_series(1, 200000) AS u, generate_series(0, 4) AS s
        ON CONFLICT DO NOTHING;
        INSERT INTO membership (user_id, segment_id, included, valid_from, valid_to)
        SELECT 200 * n, 9999, TRUE, '2026-07-02', '2026-07-03' FROM generate_series(1, 500) AS n;
        INSERT INTO layer (slug, salt, created_at)
        SELECT 'LAYER_' || n, 'LAYER_' || n, '2026-01-03' FROM generate_series(1, 100) AS n;
        INSERT INTO layer_segment (segment_id, layer_id, valid_from)
        SELECT 1000 + n, 1 + n % 100, '2026-01-03' FROM generate_series(1, 1000) AS n;
        INSERT INTO audit (at, action, slug, details)
        SELECT
            timestamptz '2026-01-01' + n * interval '1 minute', 'segment.change',
            'SEG_' || n % 10000, '{}'
        FROM generate_series(1, 100000) AS n;
    """)
    await conn.execute("VACUUM ANALYZE")
    await conn.close()
    return dsn
