"""Poolers such as PgBouncer: the service needs one connection to the server for each of its own."""

import asyncpg

from segsvc.db.pool import POOLER_ADVICE, Connection, session
from segsvc.db.sql import statement
from segsvc.db.state import WrongSetup

GET_BACKEND_PID = statement("db/get_backend_pid")

# A pooler that takes the connections to the server in turn may give the same one again by chance.
ROUNDS = 3


async def check(conn: Connection, dsn: str) -> None:
    """Check that `conn`, a connection to `dsn`, keeps one connection to the server.

    Raises:
        WrongSetup: a pooler gives it another one for each transaction or statement.
    """
    # A pooler tells its clients another process than that of the server.
    if await _pid(conn) != conn.get_server_pid():
        async with session(dsn) as other:
            if await _changes(conn, other):
                raise WrongSetup(POOLER_ADVICE)


async def _changes(conn: Connection, other: Connection) -> bool:
    """Return whether `conn` changes its connection to the server, or shares it with `other`."""
    try:
        for _ in range(ROUNDS):
            mine = {await _pid(conn), await _pid(conn)}
            async with other.transaction():  # holds a connection to the server
                theirs = await _pid(other)
                mine.add(await _pid(conn))
            if len(mine) > 1 or theirs in mine:
                return True
    except (
        asyncpg.PostgresConnectionError,  # cut at BEGIN: the pooler pools statements
        asyncpg.DuplicatePreparedStatementError,
        asyncpg.InvalidSQLStatementNameError,
    ):
        return True
    return False


async def _pid(conn: Connection) -> int:
    pid: int = await conn.fetchval(GET_BACKEND_PID)
    return pid
