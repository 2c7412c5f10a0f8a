"""Settings and the database, for commands that work on it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import ModuleType

import asyncpg
import click

from segsvc.db import migrations, pooler, state
from segsvc.db.pool import Connection, Unavailable, session
from segsvc.db.state import Task
from segsvc.settings import PUBLISHED_SECRET, Settings, SettingsError


def read_settings(*, serving: bool = False) -> Settings:
    """Return the settings.

    Raises:
        ClickException: some of them are wrong; the message names each.
    """
    try:
        return Settings.load(os.environ, serving=serving)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


def refuse_published_secret(settings: Settings) -> None:
    """Refuse a secret that everyone knows, where a key is to keep anyone out.

    Raises:
        ClickException: `SEGSVC_SECRET` is that of docker-compose.yml.
    """
    if settings.secret == PUBLISHED_SECRET:
        raise click.ClickException(
            "SEGSVC_SECRET is the one in docker-compose.yml, with which everyone could sign links"
            " to reports: set another first, such as the output of `openssl rand -hex 32`"
        )


@contextmanager
def open_database(settings: Settings, *, exclusive: bool) -> Iterator[tuple[str, str]]:
    """Yield the URL of the database and words that describe it.

    The embedded server is started if it does not run; `exclusive` refuses one that runs.

    Raises:
        ClickException: the embedded server cannot be used.
    """
    if settings.database_url is not None:
        yield settings.database_url, "on the database of SEGSVC_DATABASE_URL"
        return
    embedded = embedded_server()
    for number in (signal.SIGTERM, signal.SIGHUP):  # leave the context, which stops the server
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        with embedded.running(settings.data_dir, exclusive=exclusive) as dsn:
            yield dsn, f"on the embedded PostgreSQL in {settings.data_dir}"
    except embedded.EmbeddedError as error:
        raise click.ClickException(str(error)) from error


@asynccontextmanager
async def connected(dsn: str, task: Task) -> AsyncIterator[Connection]:
    """Open a connection to a database that has the schema of this version, and rights for `task`.

    Raises:
        ClickException: it cannot be used, or has another schema.
    """
    try:
        async with session(dsn) as conn:
            await pooler.check(conn, dsn)
            await state.check(conn, task)
            await migrations.check(conn)
            yield conn
    except (migrations.SchemaMismatch, state.WrongSetup) as error:
        raise click.ClickException(str(error)) from error
    except (Unavailable, asyncpg.PostgresError) as error:
        raise click.ClickException(f"cannot use the database: {error}") from error


def run_connected(work: Callable[[Connection], Awaitable[None]], task: Task) -> None:
    """Run `work` on a connection to the database of the settings, with rights for `task`."""

    async def connect(dsn: str) -> None:
        async with connected(dsn, task) as conn:
            await work(conn)

    with open_database(read_settings(), exclusive=False) as (dsn, _):
        asyncio.run(connect(dsn))


def run_migrations(dsn: str, *, break_lock: bool) -> list[str]:
    """Apply the missing migrations and return their ids.

    Raises:
        ClickException: they cannot be applied; the message says why.
    """
    try:
        return migrations.migrate(dsn, break_lock=break_lock)
    except migrations.MigrationError as error:
        raise click.ClickException(str(error)) from error


def embedded_server() -> ModuleType:
    """Return the module of the embedded server.

    Raises:
        ClickException: it is not installed.
    """
    try:
        from segsvc.db import embedded  # noqa: PLC0415 (an extra that the image does not have)
    except ImportError as error:
        raise click.ClickException(
            "set SEGSVC_DATABASE_URL, or install segsvc[embedded] for an embedded PostgreSQL"
        ) from error
    return embedded
