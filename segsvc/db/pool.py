"""Connections to PostgreSQL: the pool, the kept connection, sessions; and what an outage is."""

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

# Shared by all connections of the process.
OUTAGE = Outage()

# Seconds. A request that waits longer is answered 503 and may be repeated.
ACQUIRE_TIMEOUT = 5
CLOSE_TIMEOUT = 1


SESSION = {
    "application_name": "segsvc",
    "timezone": "UTC",
    # The server gives up before the client does, so that no statement runs on unseen.
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
    # Statements here are short; compiling one would take longer than running it.
    "jit": "off",
}

# For reports and imports, whose clients may be slow.
LONG_SESSION = SESSION | {
    "statement_timeout": "1h",
    # A million users are sorted in memory.
    "work_mem": "64MB",
    # If the service is killed, its statements are cancelled and their locks released.
    "client_connection_check_interval": "2s",
}

# Conditions of the server, not of the request: no connection, shutting down, out of disk or
# connections, read-only, timed out, deadlocked, login refused.
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
    # Raised by the driver if the connection is cut between two messages.
    asyncpg.InternalClientError,
)


class Unavailable(Exception):  # noqa: N818 (a state of the database, not a mistake)
    """The database cannot be used at the moment; trying again later is safe."""


class PoolExhausted(Unavailable):
    """The allowed number of requests waits for a connection already."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _AWAY as error:
        OUTAGE.failed(error)
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    except asyncpg.InterfaceError as error:
        if isinstance(error, ValueError):  # the driver refuses a value: a defect of the service
            raise
        OUTAGE.failed(error)
        raise Unavailable(str(error)) from error  # the connection broke under the statement
    if OUTAGE.since is not None:
        OUTAGE.over()


class Pool:
    """Connections for requests, with a limit on waiting requests. It connects at the first use."""

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
            reset=_skip_reset,
            server_settings=SESSION | {"statement_timeout": f"{limits.statement_seconds}s"},
        )
        self.most = limits.pool + limits.waiting
        self.asking = 0

    async def __aenter__(self) -> Self:
        await self.connections
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connections.close()


async def _skip_reset(conn: Connection) -> None:
    """Skip the reset of a released connection, which costs a round trip.

    No statement of the service changes its session: settings, cursors, channels and locks end with
    the transaction. The driver rolls back a transaction that was left open.
    """
    del conn


class KeptConnection:
    """A connection that is kept open for one user; a broken one is replaced at the next use."""

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
        """Lend the connection; it serves one caller at a time.

        Raises:
            Unavailable: the connection cannot be opened, breaks, or is too slow.
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
                # The rest of a failed or cancelled query is discarded with the connection.
                self._conn.terminate()
                raise


@asynccontextmanager
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    """Lend a connection from `pool`.

    Raises:
        PoolExhausted: too many requests wait for one already.
        Unavailable: no connection in time, or it breaks, or the server cannot work.
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
                    # A session may stay read-only after the server has become writable.
                    conn.terminate()
                    raise
    finally:
        pool.asking -= 1


@asynccontextmanager
async def session(dsn: str) -> AsyncIterator[Connection]:
    """Open a connection for long work and close it afterwards.

    Raises:
        Unavailable: it cannot be opened, or breaks, or the server cannot work.
    """
    with _translated():
        conn = await asyncpg.connect(dsn, timeout=ACQUIRE_TIMEOUT, server_settings=LONG_SESSION)
        try:
            yield conn
            await conn.close(timeout=ACQUIRE_TIMEOUT)
        finally:
            conn.terminate()
