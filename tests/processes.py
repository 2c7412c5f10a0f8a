"""The service as a process, started from its command line."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

SEGSVC = str(Path(sys.executable).with_name("segsvc"))
PATIENCE = 60  # seconds; a shared machine can be slow, and a service that works never takes them


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
        timeout=PATIENCE,
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


@contextmanager
def serving(
    log: Path | None = None, /, **settings: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `segsvc serve` on a free port; yield its address and process, and stop it after.

    What it writes goes to the file `log`: nobody would empty a pipe while it runs.
    """
    port = free_port()
    with log.open("w+") if log else TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [SEGSVC, "serve"],
            env=environment(port=str(port), **settings),
            stdout=output,
            stderr=output,
            text=True,
        )
        yield from _served(f"http://127.0.0.1:{port}", process, output)


def _served(
    url: str, process: subprocess.Popen[str], output: IO[str]
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    deadline = time.monotonic() + PATIENCE
    try:
        while not answers(f"{url}/healthz"):
            assert process.poll() is None, output.seek(0) or output.read()
            assert time.monotonic() < deadline
        yield url, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
