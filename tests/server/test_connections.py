"""Connections: who is served, and what is answered to what is not HTTP."""

import resource
import select
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import Databases
from tests.processes import SEGSVC, TIMEOUT, environment, run, serving, until

GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


def connect(url: str, *, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(address_of(url), timeout=TIMEOUT, source_address=(source, 0))


def ask(connected: socket.socket, request: bytes = GET) -> bytes:
    """Return the status, headers and first part of the body of the answer."""
    connected.sendall(request)
    return connected.recv(65536)


def status(url: str, **options: str) -> int:
    """Return the status of an answer on a new connection."""
    with connect(url, **options) as connected:
        return int(ask(connected).split()[1])


def rest(connected: socket.socket) -> bytes:
    """Return what comes until the service closes the connection."""
    return b"".join(iter(lambda: connected.recv(65536), b""))


@pytest.fixture(scope="module")
async def url(new_database: Databases, template: str) -> AsyncIterator[str]:
    with serving(database_url=await new_database(template), workers="1") as (url, _):
        yield url


HEADERS = (b"X-Content-Type-Options: nosniff", b"Server: segsvc", b"X-Request-ID: ")
MALFORMED = {
    "TLS": b"\x16\x03\x01\x02\x00\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "method": b"FOO\x1b[31m /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "path": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "header": b"GET /healthz HTTP/1.1\r\nHost: a\r\nA: \x01\r\n\r\n",
    "long line": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    "chunks in HTTP/1.0": b"GET /healthz HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(url: str, name: str) -> None:
    """What is not HTTP gets a problem document with all headers, and the connection is closed."""
    with connect(url) as connected:
        answer = ask(connected, MALFORMED[name]) + rest(connected)
    assert answer.split()[1] == b"400"
    assert b"urn:segsvc:problem:malformed-request" in answer
    assert all(header in answer for header in HEADERS)


@pytest.mark.parametrize("path", ["/healthz", "/none"])
def test_expectation(url: str, path: str) -> None:
    """An unknown expectation is a problem document too."""
    with connect(url) as connected:
        answer = ask(connected, f"GET {path} HTTP/1.1\r\nHost: a\r\nExpect: a\r\n\r\n".encode())
    assert answer.split()[1] == b"417"
    assert b"urn:segsvc:problem:unsupported-expectation" in answer
    assert all(header in answer for header in HEADERS)


@pytest.mark.parametrize("gzip", [b"", b"Accept-Encoding: gzip\r\n"])
def test_stream_for_old_clients(url: str, gzip: bytes) -> None:
    """HTTP/1.0 has no chunks: the connection ends where a stream of unknown length ends."""
    with connect(url) as connected:
        body = b'{"slug": "OLD"}'
        head = b"POST /api/v1/segments HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        ask(connected, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    with connect(url) as connected:
        head = b"GET /api/v1/segments/OLD/members HTTP/1.0\r\nConnection: keep-alive\r\n"
        answer = ask(connected, head + b"Accept: text/csv\r\n" + gzip + b"\r\n") + rest(connected)
    assert answer.startswith(b"HTTP/1.0 200 ")
    assert b"chunked" not in answer


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n", GET])
def test_silent_clients_give_way(dsn: str, sent: bytes) -> None:
    """Who takes all connections and asks nothing, or half a question, keeps nobody out."""
    with serving(database_url=dsn, workers="1", max_connections="5") as (url, _):
        silent = [connect(url) for _ in range(5)]
        for each in silent:
            each.sendall(sent)
        until(lambda: status(url) == 200)
        for each in silent:
            each.close()


def test_one_address(dsn: str) -> None:
    """One address may have so many connections; another one is served meanwhile."""
    settings = {"max_connections": "10", "max_connections_per_address": "2"}
    with serving(database_url=dsn, workers="1", **settings) as (url, _):
        until(lambda: status(url) == 200)  # the probe of the start has left
        taken = [connect(url, source="127.0.0.3") for _ in range(2)]
        assert {ask(each).split()[1] for each in taken} == {b"200"}
        assert status(url, source="127.0.0.3") == 503
        assert status(url, source="127.0.0.2") == 200
        for each in taken:
            each.close()
        until(lambda: status(url, source="127.0.0.3") == 200)


def test_open_files(dsn: str, tmp_path: Path) -> None:
    """The connection limit follows from the limit of open files: nobody gets a reset."""
    log = tmp_path / "log"
    with serving(log, ulimit="-n 130", database_url=dsn, workers="1") as (url, _):
        assert "clients may be connected, not 1000: the limit of open files is 130" in (
            log.read_text()
        )
        connected = [connect(url) for _ in range(40)]
        answers = [ask(each).split()[1] for each in connected]
        assert set(answers) == {b"200", b"503"}
        body = b'{"period": "2026-01"}'
        head = b"POST /api/v1/reports HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        answer = ask(connected[0], head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert b" 201 " in answer
        path = answer.split(b"http://a")[1].split(b"\r")[0]
        assert b" 200 " in ask(connected[0], b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        for each in connected:
            each.close()


def test_open_files_and_keys(dsn: str) -> None:
    """A key has half of the connections that open files allow, so others are served beside it."""
    key = run("keys", "create", "ann", "--role", "editor", database_url=dsn).stdout.strip()
    head = f"POST /api/v1/segments HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with serving(ulimit="-n 130", database_url=dsn, workers="1") as (url, _):
        waiting = []
        for _ in range(11):  # the half of 21, and one more
            waiting.append(connect(url))
            waiting[-1].sendall(head.encode())
        readable, _, _ = select.select(waiting, [], [], TIMEOUT)
        assert len(readable) == 1
        answer = readable[0].recv(65536)
        assert b" 429 " in answer
        assert b"one key may have 10 requests under way" in answer
        assert status(url) == 200
        for each in waiting:
            each.close()


def test_too_few_open_files(dsn: str) -> None:
    """With too few open files for its own connections, the service says so and does not start."""
    done = subprocess.run(
        ["sh", "-c", f"ulimit -n 100; exec {SEGSVC} serve --workers 1"],
        env=environment(database_url=dsn),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 1
    assert "ulimit -n" in done.stderr
    assert "Traceback" not in done.stderr


def test_soft_limit_is_raised(dsn: str) -> None:
    """A soft limit below the hard one is raised as far as the connections need it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(ulimit="-S -n 200", database_url=dsn, workers="1") as (url, process):
        assert status(url) == 200
        soft, _ = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        assert soft == min(hard, 1109)
