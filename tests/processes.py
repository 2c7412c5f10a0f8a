"""The service as a process, started from its command line."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

import psutil

SEGSVC = str(Path(sys.executable).with_name("segsvc"))
TIMEOUT = 60  # seconds; the machine of the tests may be slow


def environment(**settings: str) -> dict[str, str]:
    """Return this process's environment with only the given SEGSVC_ settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SEGSVC_")}
    if "database_url" in settings:
        settings.setdefault("secret", "a secret of the tests")
    return kept | {f"SEGSVC_{name.upper()}": value for name, value in settings.items()}


def run(*arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [SEGSVC, *arguments],
        env=environment(**settings),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):  # noqa: S310 (our own address)
            return True
    except (URLError, ConnectionError, TimeoutError):
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(pid: int) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(pid).children()
        if child.status() != psutil.STATUS_ZOMBIE and "segsvc.server.workers" in child.cmdline()
    ]


def all_workers(pid: int, count: int) -> list[psutil.Process]:
    """Wait until so many workers of a service listen, and return them."""
    found: list[psutil.Process] = []

    def are_there() -> bool:
        found[:] = [
            w
            for w in workers_of(pid)
            if any(c.status == "LISTEN" for c in w.net_connections("tcp"))
        ]
        return len(found) == count

    until(are_there)
    return found


@contextmanager
def serving(
    log: Path | None = None, /, ulimit: str = "", **settings: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `segsvc serve`, by default on a free port; yield its address and process; stop it after.

    What it writes goes to the file `log`: nobody would empty a pipe while it runs. `ulimit` are
    arguments of that command of the shell.
    """
    port = settings.setdefault("port", str(free_port()))
    with log.open("a+") if log else TemporaryFile("w+") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"{ulimit and f'ulimit {ulimit}; '}exec {SEGSVC} serve"],
            env=environment(**settings),
            stdout=output,
            stderr=output,
            text=True,
        )
        yield from _served(f"http://127.0.0.1:{port}", process, output)


def _served(
    url: str, process: subprocess.Popen[str], output: IO[str]
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    deadline = time.monotonic() + TIMEOUT
    try:
        while not answers(f"{url}/healthz"):
            assert process.poll() is None, output.seek(0) or output.read()
            assert time.monotonic() < deadline
        yield url, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT)
