"""PgBouncer between the service and PostgreSQL: Debian's pgbouncer, run by `make test-15`."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from aiohttp.pytest_plugin import AiohttpClient
from yarl import URL

from segsvc.app import create_app
from segsvc.db import migrations
from segsvc.db.pool import POOLER_ADVICE
from tests.api_calls import call, change, create, read
from tests.conftest import SECRET, Databases, database_name
from tests.processes import free_port, run, until

pytestmark = pytest.mark.pgbouncer

CSV = {"Content-Type": "text/csv"}


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def pooled(dsn: str, *settings: str) -> Iterator[str]:
    """Run PgBouncer before a server; yield the URL of the database behind it."""
    folder = Path(mkdtemp(prefix="segsvc-pooler-"))
    port, name = free_port(), database_name(dsn)
    server = parse_qs(urlsplit(dsn).query)["host"][0]
    lines = [
        "[databases]",
        f"* = host={server} user=postgres",
        "[pgbouncer]",
        f"listen_port = {port}",
        "listen_addr = 127.0.0.1",
        "unix_socket_dir =",
        "auth_type = any",
        "ignore_startup_parameters = statement_timeout, options",
        *settings,
    ]
    (folder / "pgbouncer.ini").write_text("\n".join(lines))
    owner: dict[str, Any] = {}
    if os.geteuid() == 0:  # PgBouncer does not run as root, and the socket may be its owner's alone
        user = Path(server).owner()
        shutil.chown(folder, user)
        owner = {"user": user, "extra_groups": []}
    command = ["pgbouncer", "--quiet", str(folder / "pgbouncer.ini")]
    url = f"postgresql://postgres@127.0.0.1:{port}/{name}?sslmode=disable"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **owner)
    try:
        until(lambda: listens(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


async def test_session_mode(aiohttp_client: AiohttpClient, new_database: Databases) -> None:
    """Migrations, reads, changes, files and reports work through a pool of sessions."""
    with pooled(await new_database(), "pool_mode = session") as url:
        assert migrations.migrate(url) == migrations.known()
        client = await aiohttp_client(create_app(url, secret=SECRET, anonymous=True))
        await create(client, "A", 50)
        await change(client, 1, add=["A"])
        for _ in range(3):
            path = "/segments/A/members/add"
            counts = await call(client, "POST", path, data="2\n3\n", headers=CSV)
            assert counts["received"] == 2
        assert await read(client, 3) == ["A"]
        month = (await call(client, "GET", "/segments/A"))["created_at"][:7]
        link = await call(client, "POST", "/reports", 201, json={"period": month})
        report = await (await client.get(URL(link["url"]).relative())).text()
        assert report.count(";A;add;") == 3
        ended = run("check", database_url=url)
        assert (ended.returncode, ended.stderr) == (0, "")
        await client.close()


@pytest.mark.parametrize("idle", [0, 1, 5])
@pytest.mark.parametrize("order", ["server_round_robin = 0", "server_round_robin = 1"])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_other_modes_are_refused(dsn: str, mode: str, order: str, idle: int) -> None:
    """Pools of transactions and of statements are refused by each command, with what to set."""
    with pooled(dsn, f"pool_mode = {mode}", order) as url:
        with ExitStack() as others:  # leave idle connections in the pool
            for _ in range(idle if mode == "transaction" else 0):
                other = others.enter_context(psycopg.connect(url, prepare_threshold=None))
                other.execute("SELECT 1")
        for command in ("migrate", "serve", "check"):
            ended = run(command, database_url=url)
            assert ended.returncode == 1
            assert POOLER_ADVICE in ended.stderr
            assert "Traceback" not in ended.stderr


def test_startup_parameters(dsn: str) -> None:
    """A PgBouncer that does not let our startup parameter pass is named, with what to set."""
    with pooled(dsn, "pool_mode = session", "ignore_startup_parameters =") as url:
        ended = run("check", database_url=url)
        assert ended.returncode == 1
        assert "ignore_startup_parameters = statement_timeout, options" in ended.stderr
