"""Waiting until PostgreSQL is in a state, such as a statement that waits for a lock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from segsvc.db.pool import Connection
from segsvc.db.session import MIGRATION_SESSION, pin
from tests.processes import TIMEOUT

# The pid of a session of this database that waits for a lock.
LOCK_WAIT = """
    SELECT a.pid FROM pg_stat_activity AS a
    WHERE a.datname = current_database() AND a.wait_event_type = 'Lock'
    LIMIT 1
"""

# Whether two sessions wait.
TWO_WAIT = """
    SELECT count(*) > 1 FROM pg_stat_activity AS a
    WHERE a.datname = current_database() AND a.wait_event_type = 'Lock'
"""


async def state(conn: Connection, query: str = LOCK_WAIT, *arguments: Any) -> Any:
    """Run a query until its first value is true or not 0; return that value."""
    async with asyncio.timeout(TIMEOUT):
        while not (value := await conn.fetchval(query, *arguments)):
            pass
    return value


@asynccontextmanager
async def holding(dsn: str, statement: str) -> AsyncIterator[Connection]:
    """Hold the locks of a statement in a transaction, on a connection that is yielded."""
    conn = await asyncpg.connect(dsn, server_settings={"statement_timeout": "0"})
    try:
        # What is waited for may take longer than sessions of the service may idle.
        await pin(conn, MIGRATION_SESSION | {"idle_in_transaction_session_timeout": "0"})
        async with conn.transaction():
            await conn.execute(statement)
            yield conn
    finally:
        await conn.close()
