"""Connections to PostgreSQL: the pool, the kept connection, single ones; and what an outage is."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import asyncpg

from segsvc.db.outages import Faults, Outage
from segsvc.db.session import KEPT_SESSION, LONG_SESSION, SESSION, at_start, pin
from segsvc.db.sql import statement
from segsvc.db.url import DatabaseUrl
from segsvc.observability import metrics
from segsvc.settings import Limits

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:  # the driver's classes take no parameters at run time
    Connection = asyncpg.Connection

# Shared by all connections of the process.
OUTAGE = Outage()
FAULTS = Faults()
READ_ONLY_FAULT = "read-only"

# Seconds. A request that waits longer is answered 503 and may be repeated.
ACQUIRE_TIMEOUT = 5
CLOSE_TIMEOUT = 1

IS_STANDBY = statement("db/is_standby")

STANDBY = "the server is a standby: it takes writes when it is promoted"
READ_ONLY = (
    "default_transaction_read_only is on: it takes writes when ALTER DATABASE or ALTER ROLE resets"
    " it"
)

PGBOUNCER_ADVICE = (
    "in PgBouncer, set ignore_startup_parameters = statement_timeout, options"
    " and pool_mode = session"
)

POOLER_ADVICE = (
    "a pooler between the service and the database pools transactions or statements, but the"
    " service keeps prepared statements, settings and temporary tables in its sessions: set"
    " pool_mode = session for this database in PgBouncer, or connect to PostgreSQL directly"
)

# Conditions of the server, not of the request: no connection, shutting down, out of disk or
# connections, damaged files, timed out, deadlocked, login refused, TLS refused.
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.InvalidTransactionStateError,
    asyncpg.TransactionRollbackError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
    # After a migration, once for a statement in a transaction.
    asyncpg.InvalidCachedStatementError,
    # Raised by the driver if the connection is cut between two messages.
    asyncpg.InternalClientError,
)


class Unavailable(Exception):  # noqa: N818 (a state of the database, not a mistake)
    """The database cannot be used at the moment; trying again later is safe."""


class PoolExhausted(Unavailable):
    """The allowed number of requests waits for a connection already."""


class ReadOnly(Unavailable):
    """The database takes no writes at the moment; the message says why."""


class Refused(Unavailable):
    """The database lacks what a statement needs, or a right to it; the message names it."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ReadOnly as error:
        FAULTS.found(READ_ONLY_FAULT, f"the database takes no writes: {error}")
        raise
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError) as error:
        FAULTS.found(POOLER_ADVICE, POOLER_ADVICE)
        raise Refused(POOLER_ADVICE) from error
    except (asyncpg.SyntaxOrAccessError, asyncpg.InvalidSchemaNameError) as error:
        # The statements are tested, so the schema or the rights have changed.
        FAULTS.found(str(error), f"the database refuses a statement: {error}")
        raise Refused(str(error)) from error
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


async def _connect(
    dsn: str, settings: Mapping[str, str], command_timeout: float | None = None
) -> Connection:
    """Open a connection; `pin` completes its settings."""
    try:
        conn: Connection
        conn = await asyncpg.connect(**_options(dsn, settings), command_timeout=command_timeout)
    except asyncpg.ProtocolViolationError as error:
        if "startup parameter" not in str(error):
            raise
        raise Unavailable(f"{error}: {PGBOUNCER_ADVICE}") from error
    return conn


@asynccontextmanager
async def _explained(conn: Connection) -> AsyncIterator[None]:
    """Find out why the database takes no writes, if it refuses one.

    Raises:
        ReadOnly: it does; the message says why.
    """
    try:
        yield
    except asyncpg.ReadOnlySQLTransactionError as error:
        raise ReadOnly(STANDBY if await conn.fetchval(IS_STANDBY) else READ_ONLY) from error


def _options(dsn: str, settings: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of a connection to `dsn`; `pin` completes its settings.

    Raises:
        WrongUrl: `dsn` cannot be used.
    """
    url = DatabaseUrl.parse(dsn)
    start = {"application_name": url.application_name} | at_start(settings)
    if url.options:
        start["options"] = url.options
    # Every statement is a file: the cache holds them all, for good.
    return url.for_asyncpg() | {"server_settings": start, "max_cached_statement_lifetime": 0}


class Pool:
    """Connections for requests, with a limit on waiting requests. It connects at the first use."""

    def __init__(self, dsn: str, limits: Limits) -> None:
        metrics.POOL_LIMIT.set(limits.pool)
        settings = SESSION | {"statement_timeout": f"{limits.statement_seconds}s"}
        self.connections = asyncpg.create_pool(
            **_options(dsn, settings),
            min_size=0,
            max_size=limits.pool,
            command_timeout=limits.statement_seconds + ACQUIRE_TIMEOUT,
            init=partial(pin, settings=settings),
            reset=_skip_reset,
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

    def __init__(self, dsn: str, settings: Mapping[str, str] = KEPT_SESSION) -> None:
        self._dsn = dsn
        self._settings = settings
        self._conn: Connection | None = None
        self._pinned = False

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
            Unavailable: the connection cannot be opened, breaks, or is too slow, or the server
                cannot work.
        """
        with _translated():
            if self._conn is None or self._conn.is_closed():
                self._conn = await _connect(self._dsn, self._settings, ACQUIRE_TIMEOUT)
                self._pinned = False
            try:
                if not self._pinned:
                    await pin(self._conn, self._settings)
                    self._pinned = True
                async with _explained(self._conn):
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
                    async with _explained(conn):
                        yield conn
                except ReadOnly:
                    # A session may stay read-only after the server has become writable.
                    conn.terminate()
                    raise
    finally:
        pool.asking -= 1


class Turns:
    """Requests that take turns, so many at once, of which so many may wait."""

    def __init__(self, waiting: int, at_once: int = 1) -> None:
        self._most = waiting + at_once
        self.asking = 0
        self._turns = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it.

        Raises:
            PoolExhausted: too many wait for one already.
        """
        if self.asking >= self._most:
            raise PoolExhausted
        self.asking += 1
        try:
            async with self._turns:
                yield
        finally:
            self.asking -= 1


@asynccontextmanager
async def session(dsn: str) -> AsyncIterator[Connection]:
    """Open a connection for long work and close it afterwards.

    Raises:
        Unavailable: it cannot be opened, or breaks, or the server cannot work.
    """
    with _translated():
        conn = await _connect(dsn, LONG_SESSION)
        try:
            await pin(conn, LONG_SESSION)
            async with _explained(conn):
                yield conn
            await conn.close(timeout=ACQUIRE_TIMEOUT)
        finally:
            conn.terminate()
