"""The pool of connections to PostgreSQL, and what counts as the database being away."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Self

import asyncpg

from segsvc.db.outages import Outage
from segsvc.observability import metrics
from segsvc.settings import Limits

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:  # the driver's classes take no parameters at run time
    Connection = asyncpg.Connection

# As all requests of this process see it.
OUTAGE = Outage()

# Seconds. A request that waits longer is answered 503, and may be repeated.
ACQUIRE_TIMEOUT = 5
CLOSE_TIMEOUT = 1


SESSION = {
    "application_name": "segsvc",
    "timezone": "UTC",
    # The server gives up before the client does, so that nothing runs on unobserved.
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
    # Statements here are short; compiling one would take longer than running it.
    "jit": "off",
}

# For what takes its time: a report or an import, with a client that is slow but steady.
LONG_SESSION = SESSION | {
    "statement_timeout": "1h",
    # A million users are sorted in memory.
    "work_mem": "64MB",
    # When the service is killed, the statement that it waited for stops too, and frees its locks.
    "client_connection_check_interval": "2s",
}

# Conditions of the server and its surroundings, not of what the client asked: no connection,
# shutting down, out of disk or connections, read-only, timed out, deadlocked, login refused.
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    # What the driver says of a connection that was cut between two of its messages.
    asyncpg.InternalClientError,
)


class Unavailable(Exception):  # noqa: N818 (a state of the database, not a mistake)
    """The database cannot be used at the moment; trying again later is sound."""


class PoolExhausted(Unavailable):
    """As many requests as allowed wait for a connection already."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _AWAY as error:
        OUTAGE.failed(error)
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    except asyncpg.InterfaceError as error:
        if isinstance(error, ValueError):  # a value that the driver refuses is a defect of ours
            raise
        OUTAGE.failed(error)
        raise Unavailable(str(error)) from error  # the connection broke under the statement
    if OUTAGE.since is not None:
        OUTAGE.over()


class Pool:
    """Connections for requests, of which only so many may wait for one. It connects when asked."""

    def __init__(self, dsn: str, limits: Limits) -> None:
        metrics.POOL_LIMIT.set(limits.pool)
        self.connections = asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=limits.pool,
            timeout=ACQUIRE_TIMEOUT,
            command_timeout=limits.statement_seconds + ACQUIRE_TIMEOUT,
            # Every statement is a file: the cache holds them all, for good.
            max_cached_statement_lifetime=0,
            reset=_leave,
            server_settings=SESSION | {"statement_timeout": f"{limits.statement_seconds}s"},
        )
        self.most = limits.pool + limits.waiting
        self.asking = 0

    async def __aenter__(self) -> Self:
        await self.connections
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connections.close()


async def _leave(conn: Connection) -> None:
    """Spare a connection that is given back the round trip of RESET ALL and its like.

    No statement here leaves anything in its session: settings, cursors, channels and locks all
    end with their transaction. The driver itself rolls back one that was left open.
    """
    del conn


class KeptConnection:
    """A connection that stays with its one user; one that broke is replaced at the next use."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._conn: Connection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._conn is not None:
            with suppress(*_AWAY, asyncpg.InterfaceError):
                await self._conn.close(timeout=CLOSE_TIMEOUT)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """Lend the connection, to one at a time.

        Raises:
            Unavailable: there is none to be had, or it broke, or it was too slow.
        """
        with _translated():
            if self._conn is None or self._conn.is_closed():
                self._conn = await asyncpg.connect(
                    self._dsn,
                    timeout=ACQUIRE_TIMEOUT,
                    command_timeout=ACQUIRE_TIMEOUT,
                    max_cached_statement_lifetime=0,
                    server_settings=SESSION,
                )
            try:
                yield self._conn
            except BaseException:
                # Whatever is left of a query that failed or was cancelled goes with it.
                self._conn.terminate()
                raise


@asynccontextmanager
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    """Lend a connection from `pool`.

    Raises:
        PoolExhausted: too many wait for one already.
        Unavailable: there is none, or it broke, or the server cannot do its work.
    """
    if pool.asking >= pool.most:
        raise PoolExhausted
    pool.asking += 1
    try:
        with _translated(), metrics.POOL_IN_USE.track_inprogress():
            async with pool.connections.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
                try:
                    yield conn
                except asyncpg.ReadOnlySQLTransactionError:
                    # Sessions may stay read-only for good when the server is not any more.
                    conn.terminate()
                    raise
    finally:
        pool.asking -= 1


@asynccontextmanager
async def session(dsn: str) -> AsyncIterator[Connection]:
    """Open a connection for work that takes its time, and close it after.

    Raises:
        Unavailable: there is none, or it broke, or the server cannot do its work.
    """
    with _translated():
        conn = await asyncpg.connect(dsn, timeout=ACQUIRE_TIMEOUT, server_settings=LONG_SESSION)
        try:
            yield conn
            await conn.close(timeout=ACQUIRE_TIMEOUT)
        finally:
            conn.terminate()
