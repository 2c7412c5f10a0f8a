"""The command line."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import click

from segsvc import __version__, schema, workers
from segsvc.config import Settings, SettingsError
from segsvc.database import Connection, Unavailable, connection, report_pool
from segsvc.reports import store as reports
from segsvc.reports.links import Report
from segsvc.reports.months import Month
from segsvc.retention import store as retention
from segsvc.values import MAX_USER_ID


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Tell a product which segments a user is in.

    Settings are environment variables: SEGSVC_DATABASE_URL (without it an embedded PostgreSQL
    runs with its files in SEGSVC_DATA_DIR), SEGSVC_HOST and SEGSVC_PORT.
    """


@main.command()
@click.option("--workers", "count", type=click.IntRange(1, 64), help="Instead of SEGSVC_WORKERS.")
def serve(*, count: int | None) -> None:
    """Serve HTTP until SIGINT or SIGTERM.

    The schema must be this version's own; the embedded PostgreSQL is migrated at start.
    """
    settings = _settings(serving=True)
    with _database(settings, exclusive=True) as (dsn, where):
        if settings.database_url is None:
            _migrate(dsn, break_lock=True)  # nobody else can be migrating: the server is ours
        secret = settings.secret or _embedded().secret(settings.data_dir)
        count = count or settings.workers
        at = f"http://{settings.host}:{settings.port}"
        banner = f"segsvc {__version__} at {at}, {where}, {count} workers (stop with Ctrl-C)"
        try:
            workers.run(settings, dsn, secret, partial(click.echo, banner), count)
        except workers.WorkerFailed as error:
            raise click.ClickException("a worker did not start; it has said why") from error
        except schema.SchemaMismatch as error:
            raise click.ClickException(str(error)) from error
        except Unavailable as error:
            raise click.ClickException(f"cannot use the database: {error}") from error
        except OSError as error:
            raise click.ClickException(
                f"cannot listen at {settings.host}:{settings.port}: {error.strerror};"
                " set SEGSVC_HOST and SEGSVC_PORT"
            ) from error


@main.command()
@click.option(
    "--break-lock", is_flag=True, help="Remove the lock that an interrupted migration left."
)
def migrate(*, break_lock: bool) -> None:
    """Bring the schema of the database to this version."""
    settings = _settings()
    with _database(settings, exclusive=False) as (dsn, where):
        applied = _migrate(dsn, break_lock=break_lock)
        click.echo(f"applied {', '.join(applied) or 'nothing: the schema is up to date'}, {where}")


class _MonthType(click.ParamType[Month]):
    name = "month"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Month:
        try:
            return Month.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@main.command()
@click.argument("month", type=_MonthType())
@click.option("--user", type=click.IntRange(1, MAX_USER_ID), help="Report this user alone.")
@click.option("-o", "--output", default="-", help="The file to write; - is standard output.")
def report(month: Month, user: int | None, output: str) -> None:
    """Write the report of MONTH, such as 2026-11, as CSV: user_id;slug;add or remove;time.

    The months are UTC; the current one goes up to now. A file is there only when it is whole.
    """

    async def write(dsn: str) -> None:
        written = 0
        with _whole_file(output) as file:

            async def send(piece: bytes) -> None:
                nonlocal written
                file.write(piece)
                written += piece.count(b"\n")
                _progress(f"{written} events")

            async with _connection(dsn) as conn:
                if month.start > await reports.now(conn):
                    raise click.ClickException(f"{month} has not begun yet (months are UTC)")
                await reports.copy(conn, Report(month, user), send)
        _progress(f"{written} events\n")

    with _database(_settings(), exclusive=False) as (dsn, _):
        try:
            asyncio.run(write(dsn))
        except OSError as error:
            raise click.ClickException(f"cannot write {output}: {error.strerror}") from error


@main.command()
@click.option("--before", type=_MonthType(), required=True, help="The first month to keep.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
def prune(*, before: Month, dry_run: bool) -> None:
    """Delete the periods, rollouts and segments that ended before a month.

    The reports of that month and of later ones stay the same, and so do reads as of their time.
    It works in small batches beside a running service, and may be interrupted.
    """

    async def run(dsn: str) -> None:
        async with _connection(dsn) as conn:
            if before.start > await reports.now(conn):
                raise click.BadParameter("has not begun yet", param_hint="--before")
            ended = await retention.count(conn, before.start)
            click.echo(
                f"{'would delete' if dry_run else 'deleting'} {ended.periods} periods,"
                f" {ended.rollouts} rollouts and {ended.segments} segments"
                f" that ended before {before}"
            )
            deleted = 0
            if not dry_run:
                async for rows in retention.prune(conn, before.start):
                    deleted += rows
                    _progress(f"{deleted} rows")
                _progress("\n")

    with _database(_settings(), exclusive=False) as (dsn, _):
        asyncio.run(run(dsn))


@contextmanager
def _whole_file(path: str) -> Iterator[BinaryIO]:
    """Open a file that gets its name only when it is whole; `-` is standard output."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = Path(f"{path}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _progress(text: str) -> None:
    """Show how far a long command has come, if somebody is looking."""
    if sys.stderr.isatty():
        click.echo(f"\r{text}", err=True, nl=False)


@asynccontextmanager
async def _connection(dsn: str) -> AsyncIterator[Connection]:
    """Open one connection for a command that takes its time, on a schema that is ours."""
    try:
        async with report_pool(dsn, 1) as pool, connection(pool) as conn:
            await schema.check(conn)
            yield conn
    except (Unavailable, schema.SchemaMismatch) as error:
        raise click.ClickException(str(error)) from error


def _settings(*, serving: bool = False) -> Settings:
    try:
        return Settings.load(os.environ, serving=serving)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _database(settings: Settings, *, exclusive: bool) -> Iterator[tuple[str, str]]:
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
        from segsvc import embedded  # noqa: PLC0415 (an extra, which the image does without)
    except ImportError as error:
        raise click.ClickException(
            "set SEGSVC_DATABASE_URL, or install segsvc[embedded] for a PostgreSQL of its own"
        ) from error
    return embedded


def _migrate(dsn: str, *, break_lock: bool) -> list[str]:
    try:
        return schema.migrate(dsn, break_lock=break_lock)
    except schema.MigrationError as error:
        raise click.ClickException(str(error)) from error
