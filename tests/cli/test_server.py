"""The command line, as processes, and the embedded server under it."""

import json
import os
import signal
import socket
import time
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
import pytest

from tests.conftest import Databases
from tests.processes import TIMEOUT, answers, run, serving

SEGMENTS = "/api/v1/segments"


def create(url: str, slug: str) -> None:
    body = json.dumps({"slug": slug}).encode()
    with urlopen(Request(url + SEGMENTS, body, {"Content-Type": "application/json"})):  # noqa: S310
        pass


def slugs(url: str) -> list[str]:
    with urlopen(url + SEGMENTS) as response:  # noqa: S310
        return [segment["slug"] for segment in json.load(response)["segments"]]


def postgres_of(data_dir: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(data_dir / "postgres") in (process.info["cmdline"] or [])
    ]


def test_help_teaches() -> None:
    """The help names the commands and the settings."""
    text = run("--help").stdout
    for word in ("serve", "migrate", "SEGSVC_DATABASE_URL", "SEGSVC_PORT"):
        assert word in text


def test_wrong_settings_stop_everything(tmp_path: Path) -> None:
    """All mistakes are reported before anything starts or is written."""
    data_dir = tmp_path / "data"
    done = run("serve", port="x", prot="1", data_dir=str(data_dir))
    assert done.returncode == 1
    assert "SEGSVC_PORT" in done.stderr
    assert "SEGSVC_PROT" in done.stderr
    assert not data_dir.exists()


def test_nobody_else_sees_the_data(tmp_path: Path) -> None:
    """Another user of the machine can neither read the data nor lock the server out."""
    data_dir = tmp_path / "data"
    assert run("migrate", data_dir=str(data_dir)).returncode == 0
    # The server of root runs as another user, who must pass through the folder.
    assert data_dir.stat().st_mode & 0o777 == (0o711 if os.getuid() == 0 else 0o700)
    assert (data_dir / "owner.pid").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_embedded_data_is_kept(tmp_path: Path, number: signal.Signals) -> None:
    """What was stored is there after a stop by any signal, which stops PostgreSQL too."""
    with serving(data_dir=str(tmp_path)) as (url, process):
        create(url, "KEPT")
        process.send_signal(number)
        process.wait(TIMEOUT)
    assert postgres_of(tmp_path) == []
    with serving(data_dir=str(tmp_path)) as (url, _):
        assert slugs(url) == ["KEPT"]
    assert postgres_of(tmp_path) == []


@pytest.mark.slow
def test_second_service_is_told_of_the_first(tmp_path: Path) -> None:
    """A second service on the same data says which process is in the way, and changes nothing."""
    with serving(data_dir=str(tmp_path)) as (url, process):
        second = run("serve", data_dir=str(tmp_path), port="1")
        assert second.returncode == 1
        assert f"running already (process {process.pid})" in second.stderr
        assert "SEGSVC_DATA_DIR" in second.stderr
        assert answers(f"{url}/healthz")
        shared = run("migrate", data_dir=str(tmp_path))
        assert (shared.returncode, "up to date" in shared.stdout) == (0, True)
        create(url, "A")


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["service", "everything"])
def test_kill_is_survived(tmp_path: Path, victim: str) -> None:
    """After a kill of the service, or of PostgreSQL too, the next start has every row."""
    with serving(data_dir=str(tmp_path)) as (url, process):
        create(url, "KEPT")
        process.kill()
        process.wait(TIMEOUT)
    if victim == "everything":
        killed = postgres_of(tmp_path)
        for server in killed:
            server.kill()
        psutil.wait_procs(killed, TIMEOUT)
        # The number of the dead server now belongs to a program that is none.
        pid_file = tmp_path / "postgres" / "postmaster.pid"
        pid_file.write_text(f"{os.getpid()}\n" + pid_file.read_text().partition("\n")[2])
    with serving(data_dir=str(tmp_path)) as (url, _):
        assert slugs(url) == ["KEPT"]
    assert postgres_of(tmp_path) == []


@pytest.mark.slow
def test_interrupted_first_start_is_repaired(tmp_path: Path) -> None:
    """A database half made is made again, and the lock of a migration cut short is removed."""
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    with serving(data_dir=str(tmp_path)) as (url, _):
        assert slugs(url) == []


def test_port_in_use(tmp_path: Path) -> None:
    """An address that is taken is reported with the settings to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("serve", port=port, data_dir=str(tmp_path))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "SEGSVC_PORT" in done.stderr
    assert postgres_of(tmp_path) == []


async def test_migrate_then_serve(new_database: Databases) -> None:
    """On a server of one's own, serve waits for migrate to have been run."""
    dsn = await new_database()
    refused = run("serve", database_url=dsn)
    assert refused.returncode == 1
    assert "segsvc migrate" in refused.stderr
    assert "applied 0001.initial" in run("migrate", database_url=dsn).stdout
    assert "up to date" in run("migrate", database_url=dsn).stdout
    with serving(database_url=dsn) as (url, _):
        create(url, "A")


def test_database_that_is_not_there() -> None:
    """An address without a server is reported in a line, by either command."""
    for command in ("serve", "migrate"):
        done = run(command, database_url="postgresql://nobody@127.0.0.1:1/none")
        assert done.returncode == 1
        assert "refused" in done.stderr.lower()
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_stop_is_quick_with_a_connection_open(tmp_path: Path) -> None:
    """An idle client does not hold a stopping service."""
    with serving(data_dir=str(tmp_path)) as (url, process):
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as idle:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(100)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(TIMEOUT)
            assert time.monotonic() - began < 8
