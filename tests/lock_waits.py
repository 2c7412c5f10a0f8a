"""Waiting until PostgreSQL is in a state, such as a statement that waits for a lock."""

import asyncio
from typing import Any

from segsvc.db.pool import Connection
from tests.processes import TIMEOUT

# The pid of a session of this database that waits for a lock.
LOCK_WAIT = """
    SELECT a.pid FROM pg_stat_activity AS a
    WHERE a.datname = current_database() AND a.wait_event_type = 'Lock'
    LIMIT 1
"""


async def state(conn: Connection, query: str = LOCK_WAIT, *arguments: Any) -> Any:
    """Run a query until its first value is true or not 0; return that value."""
    async with asyncio.timeout(TIMEOUT):
        while not (value := await conn.fetchval(query, *arguments)):
            pass
    return value
