"""Migrations: apply them, and check that the schema is the one of this version."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import psycopg
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.exceptions import LockTimeout
from yoyo.migrations import default_migration_table

from segsvc.db import pooler, state
from segsvc.db.pool import Connection, Unavailable, session
from segsvc.db.session import MIGRATION_SESSION, PIN_SETTINGS, at_start
from segsvc.db.sql import project_folder, statement
from segsvc.db.url import DatabaseUrl

MIGRATIONS = project_folder("migrations")
LIST_APPLIED = statement("db/list_applied_migrations")


class MigrationError(Exception):
    """The migrations could not be applied; the message says why and what to do."""


class SchemaMismatch(Exception):  # noqa: N818 (a state, reported at start)
    """The schema is older or newer than this code; the message says what to do."""


def known() -> list[str]:
    """Return the ids of the migrations of this version, in order."""
    names = (path.name.removesuffix(".sql") for path in MIGRATIONS.glob("*.sql"))
    return sorted(name for name in names if not name.endswith(".rollback"))


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo has none
    """yoyo on psycopg 3, in a session with our settings."""

    def init_connection(self, connection: Any) -> None:
        pinned = [list(MIGRATION_SESSION), list(MIGRATION_SESSION.values())]
        psycopg.RawCursor(connection).execute(PIN_SETTINGS, pinned)


def backend_of(dsn: str) -> PostgresqlPsycopgBackend:
    """Return yoyo's connection to the database, with its own tables made.

    Raises:
        WrongUrl: `dsn` cannot be used.
        psycopg.Error: the database refuses.
    """
    parts = DatabaseUrl.parse(dsn).for_libpq(at_start(MIGRATION_SESSION))
    name = parts.pop("dbname")
    uri = DatabaseURI("postgresql+psycopg", None, None, None, None, name, parts)
    backend = _Backend(uri, default_migration_table)
    backend.init_database()
    return backend


def migrate(dsn: str, *, break_lock: bool = False) -> list[str]:
    """Apply the missing migrations and return their ids. Each can be done again if it fails.

    `break_lock` first removes the lock that an interrupted run left.

    Raises:
        MigrationError: the database is away, read-only, or not set up; the lock is held; or a
            migration failed.
    """
    try:
        with ThreadPoolExecutor(1) as thread:  # the caller may have an event loop
            thread.submit(asyncio.run, _check_before(dsn)).result()
        with backend_of(dsn) as backend:
            if break_lock:
                backend.break_lock()
            with backend.lock():
                missing = backend.to_apply(read_migrations(str(MIGRATIONS)))
                backend.apply_migrations(missing)
    except LockTimeout as error:
        raise MigrationError(
            f"{error}. If no migration is running, one was interrupted:"
            " run `segsvc migrate --break-lock`"
        ) from None
    except Unavailable as error:
        raise MigrationError(f"cannot use the database: {error}") from error
    except state.WrongSetup as error:
        raise MigrationError(str(error)) from error
    except psycopg.Error as error:
        raise MigrationError(
            f"the migration failed; run it again when that is cured: {error}"
        ) from error
    return [migration.id for migration in missing]


async def _check_before(dsn: str) -> None:
    """Check what yoyo would report by its consequences, or not at all.

    Raises:
        MigrationError: the database takes no writes.
        WrongSetup: rights are missing, or the encoding is wrong, or a pooler pools transactions.
        Unavailable: it cannot be used.
    """
    async with session(dsn) as conn:
        await pooler.check(conn, dsn)
        found = await state.check(conn, "migrate")
    if found.read_only:
        raise MigrationError(f"the database takes no writes: {found.read_only}")


async def check(conn: Connection) -> None:
    """Check that the schema is the one of this version.

    Raises:
        SchemaMismatch: it is older or newer.
    """
    try:
        applied = {row["id"] for row in await conn.fetch(LIST_APPLIED)}
    except asyncpg.UndefinedTableError:
        applied = set()
    if newer := sorted(applied - set(known())):
        raise SchemaMismatch(
            f"the schema is newer than this version of segsvc (it has {', '.join(newer)}):"
            " run the version that migrated it, or a later one"
        )
    if missing := sorted(set(known()) - applied):
        raise SchemaMismatch(
            f"the schema is older than this version of segsvc (it lacks {', '.join(missing)}):"
            " run `segsvc migrate`"
        )
