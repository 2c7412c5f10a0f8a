"""`segsvc serve`."""

import asyncio
from functools import partial

import click

from segsvc import __version__
from segsvc.auth import store as keys
from segsvc.cli.database import (
    connected,
    embedded_server,
    open_database,
    read_settings,
    refuse_published_secret,
    run_migrations,
)
from segsvc.db.migrations import SchemaMismatch
from segsvc.db.pool import Unavailable
from segsvc.db.state import State, WrongSetup, check
from segsvc.observability import logs
from segsvc.server import workers
from segsvc.server.open_files import TooFewOpenFiles
from segsvc.settings import MAX_WORKERS


@click.command()
@click.option(
    "--workers", "count", type=click.IntRange(1, MAX_WORKERS), help="Instead of SEGSVC_WORKERS."
)
def serve(*, count: int | None) -> None:
    """Serve HTTP until SIGINT or SIGTERM.

    The database must have the schema of this version; the embedded PostgreSQL is migrated at start.
    """
    settings = read_settings(serving=True)
    logs.configure(settings.log_level)
    with open_database(settings, exclusive=True) as (dsn, where):
        if settings.database_url is None:
            # No other process can be migrating: this one owns the server.
            run_migrations(dsn, break_lock=True)
        secret = settings.secret or embedded_server().secret(settings.data_dir)
        state, is_open = asyncio.run(_inspect(dsn))
        if is_open and not settings.anonymous:
            raise click.ClickException(
                f"without a key everyone who reaches {settings.host} could do everything:"
                " create one with `segsvc keys create NAME --role editor`,"
                " or set SEGSVC_ALLOW_ANONYMOUS=1"
            )
        if not is_open:
            refuse_published_secret(settings)
        if is_open:
            click.echo("no key yet: open to everyone (segsvc keys create --help)", err=True)
        if state.read_only:
            click.echo(f"reads only, the database takes no writes: {state.read_only}", err=True)
        count = count or settings.workers
        at = url_of(settings.host, settings.port)
        banner = f"segsvc {__version__} at {at}, {where}, {count} workers (stop with Ctrl-C)"
        try:
            workers.run(settings, dsn, secret, partial(click.echo, banner), count)
        except workers.WorkerFailed as error:
            raise click.ClickException("a worker did not start; see its message above") from error
        except (TooFewOpenFiles, SchemaMismatch, WrongSetup) as error:
            raise click.ClickException(str(error)) from error
        except Unavailable as error:
            raise click.ClickException(f"cannot use the database: {error}") from error
        except OSError as error:
            raise click.ClickException(
                f"cannot listen at {settings.host}:{settings.port}: {error.strerror};"
                " set SEGSVC_HOST and SEGSVC_PORT"
            ) from error


def url_of(host: str, port: int) -> str:
    """Return the URL of the service at an address."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _inspect(dsn: str) -> tuple[State, bool]:
    """Return the state of the database, and whether no key was ever created."""
    async with connected(dsn, "serve") as conn:
        return await check(conn, "serve"), not await keys.list_all(conn)
