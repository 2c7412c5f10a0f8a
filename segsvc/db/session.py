"""The settings of sessions, which do not depend on the defaults of the database and the role.

One is left to the operator on purpose: `default_transaction_read_only` stops all writes.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from segsvc.db.sql import statement

if TYPE_CHECKING:
    from segsvc.db.pool import Connection

PIN_SETTINGS = statement("db/pin_settings")

SESSION = {
    # The clock is read after a lock, and the next statement sees what the lock waited for.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "synchronous_commit": "on",
    # Names in statements have no schema.
    "search_path": "public",
    "default_tablespace": "",
    "temp_tablespaces": "",
    "default_table_access_method": "heap",
    "row_security": "on",
    # How values are written and read as text.
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    # A message between the pieces of COPY would cost the driver one of them.
    "client_min_messages": "error",
    "exit_on_error": "off",
    # The server gives up before the client does, so that no statement runs on unseen.
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    # Statements here are short; compiling one would take longer than running it.
    "jit": "off",
    "plan_cache_mode": "auto",
}

# For a connection with one statement. A read of one user took 0.16 ms instead of 0.43: otherwise
# PostgreSQL plans it each time, because a plan for one user looks cheaper than one for any number.
KEPT_SESSION = SESSION | {"plan_cache_mode": "force_generic_plan"}

# For changes that go together: one that waits longer for a lock delays all others.
WRITE_SESSION = KEPT_SESSION | {"lock_timeout": "50ms"}

# For reports and imports, whose clients may be slow.
LONG_SESSION = SESSION | {
    "statement_timeout": "1h",
    # A million users are sorted in memory.
    "work_mem": "64MB",
    # If the service is killed, its statements are cancelled and their locks released.
    "client_connection_check_interval": "2s",
}

# A migration that waits for a table lock blocks every statement that comes after it.
MIGRATION_SESSION = SESSION | {"statement_timeout": "0", "lock_timeout": "5s"}


def at_start(settings: Mapping[str, str]) -> dict[str, str]:
    """Return what a connection begins with: the first statement has its timeout already.

    The others would have to be allowed in PgBouncer one by one.
    """
    return {"statement_timeout": settings["statement_timeout"]}


async def pin(conn: "Connection", settings: Mapping[str, str]) -> None:
    """Give the settings of a new connection their values."""
    await conn.execute(PIN_SETTINGS, list(settings), list(settings.values()))
