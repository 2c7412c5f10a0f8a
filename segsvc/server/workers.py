"""Worker processes that share a port.

A Python process uses one core, so there is one worker for each core. The kernel distributes
connections over the sockets that listen at the port (SO_REUSEPORT); the socket of a dead worker
gets none. The parent process answers no requests: it holds the port, starts the workers, and
replaces those that end.

A worker runs until its standard input closes, a pipe from the parent that carries no data. It
closes when the parent stops or is killed; the worker then finishes its requests and ends.
"""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import uvloop
from aiohttp import web

from segsvc.app import HANDLER_ARGS, create_app
from segsvc.db import migrations
from segsvc.db.pool import Unavailable
from segsvc.db.state import WrongSetup
from segsvc.observability import logs, metrics
from segsvc.server.connections import Connections
from segsvc.server.open_files import TooFewOpenFiles, within_open_files
from segsvc.settings import Settings

# Seconds that requests under way have after a signal; container engines kill after ten.
SHUTDOWN_TIMEOUT = 8

# Seconds after which a thread gives way to the event loop (5 ms is Python's default).
SWITCH_INTERVAL = 0.0005

# Seconds before a worker is replaced: doubled each time that it ends before it was ready.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0


class WorkerFailed(Exception):  # noqa: N818 (the worker has printed the error)
    """A worker ended before it was ready, at the first start."""


def run(settings: Settings, dsn: str, secret: str, ready: Callable[[], None], count: int) -> None:
    """Serve with `count` workers until a signal; a single worker is this process itself.

    Raises:
        TooFewOpenFiles, SchemaMismatch, Unavailable, OSError: as `serve`.
        WorkerFailed: as `supervise`.
    """
    if count == 1:
        uvloop.run(serve(settings, dsn, secret, ready))
    else:
        asyncio.run(supervise(settings, dsn, secret, ready, count))


async def serve(
    settings: Settings, dsn: str, secret: str, ready: Callable[[], None], *, shared: bool = False
) -> None:
    """Serve the database at `dsn` in this process until a signal.

    `ready` is called when requests are answered. A worker shares the port: `shared`.

    Raises:
        TooFewOpenFiles: the limit of open files leaves no connection for a client.
        SchemaMismatch: the schema is not this version's.
        Unavailable: the database cannot be used.
        OSError: the address cannot be used.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    limits = within_open_files(settings.limits)
    stopping = _stop_signal()
    if shared:
        asyncio.get_running_loop().add_reader(sys.stdin, stopping.set)
    app = create_app(
        dsn,
        secret=secret,
        anonymous=settings.anonymous,
        public_url=settings.public_url,
        limits=limits,
        origins=settings.cors_origins,
    )
    runner = web.AppRunner(
        app,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
        handler_cancellation=True,  # a client that left gets nothing more done
    )
    try:
        await runner.setup()
        assert runner.server
        listening = await asyncio.get_running_loop().create_server(
            Connections(
                runner.server,
                HANDLER_ARGS,
                most=limits.connections,
                most_per_address=limits.connections_per_address or limits.connections,
            ),
            settings.host,
            settings.port,
            reuse_port=shared,
        )
        ready()
        await stopping.wait()
        listening.close()  # without waiting for idle clients
    finally:
        if shared:
            asyncio.get_running_loop().remove_reader(sys.stdin)
        await runner.cleanup()


async def supervise(
    settings: Settings, dsn: str, secret: str, ready: Callable[[], None], count: int
) -> None:
    """Serve with `count` worker processes until a signal.

    Raises:
        OSError: the address cannot be used; no worker was started.
        WorkerFailed: a worker did not start; it has printed the error.
    """
    stopping = _stop_signal()
    own = {"SEGSVC_DATABASE_URL": dsn, "SEGSVC_SECRET": secret}
    with _held(settings.host, settings.port), metrics.shared() as counting:
        workers = _Workers(os.environ | own | counting, stopping, ready, count)
        for end in await asyncio.gather(*workers.slots, return_exceptions=True):
            if end is not None:
                raise end


class _Workers:
    """Slots for workers: a worker that ends is replaced in its slot."""

    def __init__(
        self,
        environ: dict[str, str],
        stopping: asyncio.Event,
        ready: Callable[[], None],
        count: int,
    ) -> None:
        self._environ = environ
        self._stopping = stopping
        self._ready = ready
        self._unready = count
        self.slots = [asyncio.create_task(self._fill_slot()) for _ in range(count)]

    async def _fill_slot(self) -> None:
        """Keep a worker in a slot until the service stops."""
        pause = FIRST_PAUSE
        started = False
        try:
            while not self._stopping.is_set():
                process = await self._start()
                assert process.stdout
                if await process.stdout.readline():
                    pause = FIRST_PAUSE
                    self._unready -= not started
                    if not started and not self._unready:
                        self._ready()
                    started = True
                elif not started:
                    raise WorkerFailed
                else:
                    pause = min(2 * pause, LONGEST_PAUSE)
                await self._wait_for_end(process)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)
        finally:
            self._stopping.set()  # if one worker cannot start, none stays

    async def _start(self) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "segsvc.server.workers"),
            stdin=PIPE,
            stdout=PIPE,
            env=self._environ,
            process_group=0,  # Ctrl-C is for the parent alone
        )

    async def _wait_for_end(self, process: Process) -> None:
        """Wait until `process` ends; when the service stops, let it finish its requests."""
        ended = asyncio.create_task(process.wait())
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        assert process.stdin
        process.stdin.close()
        try:
            await asyncio.wait_for(ended, SHUTDOWN_TIMEOUT + 1)
        except TimeoutError:
            process.kill()
            await process.wait()
        metrics.forget(self._environ[metrics.FOLDER], process.pid)


def _stop_signal() -> asyncio.Event:
    """Return an event that SIGINT, SIGTERM and SIGHUP set."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


@contextmanager
def _held(host: str, port: int) -> Iterator[None]:
    """Reserve an address for the workers, without listening.

    Raises:
        OSError: another process uses it, even if that one would share it.
    """
    with ExitStack() as held:
        for family, kind, number, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            with _bound(family, kind, number, address, shared=False):
                pass
            held.enter_context(_bound(family, kind, number, address, shared=True))
        yield


def _bound(family: int, kind: int, number: int, address: Any, *, shared: bool) -> socket.socket:
    bound = socket.socket(family, kind, number)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _work() -> None:
    """Run a worker; its settings are environment variables, the URL of the database included."""
    settings = Settings.load(os.environ, serving=True)
    logs.configure(settings.log_level)
    assert settings.database_url
    assert settings.secret
    served = serve(
        settings,
        settings.database_url,
        settings.secret,
        partial(print, "ready", flush=True),
        shared=True,
    )
    try:
        uvloop.run(served)
    except (
        TooFewOpenFiles,
        migrations.SchemaMismatch,
        WrongSetup,
        Unavailable,
        OSError,
    ) as error:
        sys.exit(f"a worker does not start: {error}")


if __name__ == "__main__":
    _work()
