"""Migrations: apply them, and check that the schema is the one of this version."""

import asyncpg
import psycopg
from yoyo import get_backend, read_migrations
from yoyo.exceptions import LockTimeout

from segsvc.db.pool import Connection
from segsvc.db.sql import project_folder, statement

MIGRATIONS = project_folder("migrations")
LIST_APPLIED = statement("db/list_applied_migrations")

# A migration that waits for a table lock blocks every statement that comes after it.
LOCK_TIMEOUT = "5s"


class MigrationError(Exception):
    """The migrations could not be applied; the message says why and what to do."""


class SchemaMismatch(Exception):  # noqa: N818 (a state, reported at start)
    """The schema is older or newer than this code; the message says what to do."""


def known() -> list[str]:
    """Return the ids of the migrations of this version, in order."""
    names = (path.name.removesuffix(".sql") for path in MIGRATIONS.glob("*.sql"))
    return sorted(name for name in names if not name.endswith(".rollback"))


def yoyo_url(dsn: str) -> str:
    """Return `dsn` as a URL that makes yoyo use psycopg 3, with a lock timeout."""
    url = "postgresql+psycopg://" + dsn.partition("://")[2]
    if "options=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}options=-c%20lock_timeout%3D{LOCK_TIMEOUT}"


def migrate(dsn: str, *, break_lock: bool = False) -> list[str]:
    """Apply the missing migrations, each in a transaction, and return their ids.

    `break_lock` first removes the lock that an interrupted run left.

    Raises:
        MigrationError: the database is away, the lock is held, or a migration failed.
    """
    try:
        backend = get_backend(yoyo_url(dsn))
        with backend:
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
    except psycopg.Error as error:
        raise MigrationError(f"the migration failed and changed nothing: {error}") from error
    return [migration.id for migration in missing]


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
