"""`serve` and `migrate`, and how a command finds its settings and its database."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import ModuleType

import click

from segsvc import __version__
from segsvc.auth import store as keys
from segsvc.db import migrations
from segsvc.db.pool import Connection, Unavailable, session
from segsvc.observability import logs
from segsvc.server import workers
from segsvc.settings import MAX_WORKERS, Settings, SettingsError


@click.command()
@click.option(
    "--workers", "count", type=click.IntRange(1, MAX_WORKERS), help="Instead of SEGSVC_WORKERS."
)
def serve(*, count: int | None) -> None:
    """Serve HTTP until SIGINT or SIGTERM.

    The schema must be this version's own; the embedded PostgreSQL is migrated at start.
    """
    settings = read_settings(serving=True)
    logs.configure(settings.log_level)
    with open_database(settings, exclusive=True) as (dsn, where):
        if settings.database_url is None:
            _migrate(dsn, break_lock=True)  # nobody else can be migrating: the server is ours
        secret = settings.secret or _embedded().secret(settings.data_dir)
        is_open = asyncio.run(_is_open(dsn))
        if is_open and not settings.anonymous:
            raise click.ClickException(
                f"without a key everyone who reaches {settings.host} could do everything:"
                " create one with `segsvc keys create NAME --role editor`,"
                " or set SEGSVC_ALLOW_ANONYMOUS=1"
            )
        if is_open:
            click.echo("no key yet: open to everyone (segsvc keys create --help)", err=True)
        count = count or settings.workers
        at = f"http://{settings.host}:{settings.port}"
        banner = f"segsvc {__version__} at {at}, {where}, {count} workers (stop with Ctrl-C)"
        try:
            workers.run(settings, dsn, secret, partial(click.echo, banner), count)
        except workers.WorkerFailed as error:
            raise click.ClickException("a worker did not start; it has said why") from error
        except migrations.SchemaMismatch as error:
            raise click.ClickException(str(error)) from error
        except Unavailable as error:
            raise click.ClickException(f"cannot use the database: {error}") from error
        except OSError as error:
            raise click.ClickException(
                f"cannot listen at {settings.host}:{settings.port}: {error.strerror};"
                " set SEGSVC_HOST and SEGSVC_PORT"
            ) from error


@click.command()
@click.option(
    "--break-lock", is_flag=True, help="Remove the lock that an interrupted migration left."
)
def migrate(*, break_lock: bool) -> None:
    """Bring the schema of the database to this version."""
    settings = read_settings()
    with open_database(settings, exclusive=False) as (dsn, where):
        applied = _migrate(dsn, break_lock=break_lock)
        click.echo(f"applied {', '.join(applied) or 'nothing: the schema is up to date'}, {where}")


async def _is_open(dsn: str) -> bool:
    """Return whether there has never been a key."""
    async with connected(dsn) as conn:
        return not await keys.list_all(conn)


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    """Open a connection for a command, on a schema that is ours."""
    try:
        async with session(dsn) as conn:
            await migrations.check(conn)
            yield conn
    except migrations.SchemaMismatch as error:
        raise click.ClickException(str(error)) from error
    except Unavailable as error:
        raise click.ClickException(f"cannot use the database: {error}") from error


def run_connected(work: Callable[[Connection], Awaitable[None]]) -> None:
    """Run `work` on a connection to the database of the settings."""

    async def connect(dsn: str) -> None:
        async with connected(dsn) as conn:
            await work(conn)

    with open_database(read_settings(), exclusive=False) as (dsn, _):
        asyncio.run(connect(dsn))


def read_settings(*, serving: bool = False) -> Settings:
    """Return the settings, or say what is wrong with them."""
    try:
        return Settings.load(os.environ, serving=serving)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def open_database(settings: Settings, *, exclusive: bool) -> Iterator[tuple[str, str]]:
    """Yield the URL of the database, and words that say which it is."""
    if settings.database_url is not None:
        yield settings.database_url, "on the database of SEGSVC_DATABASE_URL"
        return
    embedded = _embedded()
    for number in (signal.SIGTERM, signal.SIGHUP):  # leave the context, and so stop the server
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        with embedded.running(settings.data_dir, exclusive=exclusive) as dsn:
            yield dsn, f"on the embedded PostgreSQL in {settings.data_dir}"
    except embedded.EmbeddedError as error:
        raise click.ClickException(str(error)) from error


def _embedded() -> ModuleType:
    try:
        from segsvc.db import embedded  # noqa: PLC0415 (an extra, which the image does without)
    except ImportError as error:
        raise click.ClickException(
            "set SEGSVC_DATABASE_URL, or install segsvc[embedded] for a PostgreSQL of its own"
        ) from error
    return embedded


def _migrate(dsn: str, *, break_lock: bool) -> list[str]:
    try:
        return migrations.migrate(dsn, break_lock=break_lock)
    except migrations.MigrationError as error:
        raise click.ClickException(str(error)) from error
