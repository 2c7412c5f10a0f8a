"""The log of the service, as a process writes it."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from segsvc.db import outages
from segsvc.db.pool import Connection
from segsvc.observability.request_ids import REQUEST_ID
from tests.conftest import Client, database_name
from tests.processes import TIMEOUT, answers, environment, free_port, serving, until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def get(url: str, **headers: str) -> Any:
    request = Request(url, headers={k.replace("_", "-"): v for k, v in headers.items()})  # noqa: S310
    with urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
        response.read()
        return response.headers


def lines(log: Path) -> list[dict[str, Any]]:
    """Return the objects in the log of a service that has stopped, without what it greets with."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


async def test_a_line_for_each_request(dsn: str, tmp_path: Path) -> None:
    """A request is one JSON line with its route, path, status, time, size and ids."""
    log = tmp_path / "log"
    with serving(log, database_url=dsn) as (url, _):
        path = "/api/v1/users/1000/segments"
        sent = get(
            f"{url}{path}?at=2026-11-22T00:00:00Z", X_Request_ID="a-1", traceparent=TRACEPARENT
        )
        assert sent[REQUEST_ID] == "a-1"
    (line,) = [line for line in lines(log) if line["path"] == path]
    assert line.pop("time").endswith("Z")
    assert 0 < line.pop("ms") < 60_000
    assert line.pop("bytes") > len('{"user_id": 1000, "segments": []}')  # the head counts too
    assert line == {
        "level": "info",
        "logger": "segsvc.access",
        "method": "GET",
        "route": "/api/v1/users/{user_id}/segments",
        "path": path,
        "status": 200,
        "remote": "127.0.0.1",
        "request_id": "a-1",
        "trace_id": TRACE,
    }


async def test_nothing_secret_is_logged(dsn: str, tmp_path: Path) -> None:
    """No query (a report's link is signed there), no header and no broken request is repeated."""
    log = tmp_path / "log"
    with serving(log, database_url=dsn, log_level="DEBUG") as (url, _):
        get(f"{url}/healthz?sneaky=hunter2", Authorization="Bearer hunter2")
        for path in ("reports.csv%3fsignature%3Dhunter2", "a%253FSIGNATURE=hunter2"):
            with pytest.raises(HTTPError):
                get(f"{url}/{path}")
        with socket.create_connection(
            (str(urlsplit(url).hostname), urlsplit(url).port or 0)
        ) as raw:
            raw.sendall(b"GET /healthz HTTP/1.1\r\nAuthorization: hunter2\x01\r\n\r\n")
            assert b" 400 " in raw.recv(100)
    assert any(line.get("status") == 400 for line in lines(log))
    assert "hunter2" not in log.read_text()


@pytest.mark.slow
async def test_a_level_silences_requests(dsn: str, tmp_path: Path) -> None:
    """With SEGSVC_LOG_LEVEL=WARNING, requests that went well leave no lines."""
    log = tmp_path / "log"
    with serving(log, database_url=dsn, log_level="WARNING") as (url, _):
        get(f"{url}/healthz")
    assert lines(log) == []


# The service, told that its standard error is a terminal: not every machine has one to spare.
ON_A_TERMINAL = """
import sys
sys.stderr.isatty = lambda: True
from segsvc.cli import main
main(["serve", "--workers", "1"])
"""


@pytest.mark.slow
def test_a_terminal_is_written_for_people(tmp_path: Path) -> None:
    """On a terminal a request is a short line, not JSON."""
    port = free_port()
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", ON_A_TERMINAL],
            env=environment(port=str(port), data_dir=str(tmp_path)),
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        get(f"http://127.0.0.1:{port}/healthz")
        until(lambda: "GET /healthz 200 in " in log.read_text())
        assert "{" not in log.read_text()
    finally:
        process.terminate()
        process.wait(TIMEOUT)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("x", True),
        ("A-z0_9.~:/+=", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("a b", False),
        ('a"b', False),
        ("é", False),
        ("", False),
    ],
)
async def test_request_ids(client: Client, given: str, taken: bool) -> None:  # noqa: FBT001
    """An id that is short and harmless is taken; for another one a new one is made."""
    response = await client.get("/healthz", headers={REQUEST_ID: given})
    assert (response.headers[REQUEST_ID] == given) is taken
    assert response.headers[REQUEST_ID]


async def test_every_answer_has_an_id(client: Client) -> None:
    """Problems, streams and answers of no route have ids too, each its own."""
    await client.post("/api/v1/segments", json={"slug": "A"})
    ids = set()
    for path, accept in (
        ("/nothing/here", "*/*"),
        ("/api/v1/segments/NONE", "*/*"),
        ("/api/v1/segments/A/members", "text/csv"),
        ("/api/v1/users/0/segments", "*/*"),
    ):
        response = await client.get(path, headers={"Accept": accept})
        ids.add(response.headers[REQUEST_ID])
    assert len(ids) == 4


async def test_failures_bear_the_id(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The traceback of a defect is logged with the request id of its answer."""
    from segsvc.observability import logs  # noqa: PLC0415 (its formatter is what this is about)

    caplog.handler.setFormatter(logs._Json())  # noqa: SLF001
    monkeypatch.delattr("segsvc.api.segments.store.list_live")
    response = await client.get("/api/v1/segments", headers={REQUEST_ID: "mine"})
    assert (response.status, response.headers[REQUEST_ID]) == (500, "mine")
    line = json.loads(caplog.text)
    assert (line["level"], line["request_id"]) == ("error", "mine")
    assert "AttributeError" in line["exception"]


async def test_an_outage_is_two_lines(
    client: Client, admin: Connection, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """However many requests meet it, that the database is away is said once, and its return too."""
    name = database_name(dsn)
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
    )
    await admin.execute(f"ALTER DATABASE {name} RENAME TO {name}_away")
    for _ in range(20):
        assert (await client.get("/api/v1/segments")).status == 503
    assert [record.message for record in caplog.records if "not available" in record.message] != []
    assert len(caplog.records) == 1
    await admin.execute(f"ALTER DATABASE {name}_away RENAME TO {name}")
    for _ in range(20):
        assert (await client.get("/api/v1/segments")).status == 200
    assert [record.name for record in caplog.records] == [outages.__name__] * 2
    assert "available again" in caplog.records[1].message
