"""Any bytes from a client get an answer of the contract, and the service stays healthy."""

import asyncio
import gzip
import json
from collections import Counter
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from yarl import URL

from segsvc.app import RESOURCES, create_app
from segsvc.http import problems
from tests.conftest import SECRET, Client
from tests.event_loop import loop_is_given_back, short_collections

JSON = {"Content-Type": "application/json"}

ROUTES = [route for resource in RESOURCES for route in resource]
ANSWERS = {(problem.status, problem.slug) for problem in problems.Problem.__subclasses__()} - {
    (500, "internal-error"),
    (503, "database-unavailable"),
}
# What OFREP has instead of problems.
CODES = {
    (404, "FLAG_NOT_FOUND"),
    (400, "TARGETING_KEY_MISSING"),
    (400, "INVALID_CONTEXT"),
    (400, "PARSE_ERROR"),
}

NUMBERS = st.one_of(
    st.integers(-2, 5),
    st.sampled_from([2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 0.5, 1e308, 100.001]),
)
TIMES = st.sampled_from(
    ["2026-11-22T00:00:00Z", "2099-01-01T00:00:00+03:00", "0001-01-01T00:00:00+23:59", "infinity",
     "9999-12-31T23:59:59.999999-23:59", "2026-02-30T00:00:00Z", "now", "2026-11", "2024-13"]
)  # fmt: skip
WORDS = st.one_of(
    st.sampled_from(
        ["A", "B", "NONE", "", "1", "0", "-1", "%00", "%", "..", "%2F", "null", "\\", "'"]
    ),
    TIMES,
    NUMBERS.map(str),
    st.text(max_size=8),
)
NAMES = st.sampled_from(
    ["slug", "description", "percent", "add", "remove", "ttl", "expires_at", "user_ids", "period",
     "user_id", "limit", "after", "at", "from", "to", "starts_at", "plan", "steps", "signature",
     "expires", "context",
     "targetingKey", "x", ""]
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)
BODIES = st.one_of(
    OBJECTS.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    VALUES.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    st.lists(WORDS, max_size=5).map(lambda lines: "\n".join(lines).encode("utf-8", "replace")),
    st.binary(max_size=50),
    st.binary(max_size=50).map(gzip.compress),
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(
            [
                "application/json",
                "text/csv",
                "text/csv; charset=x",
                'application/json; charset="',
                "x",
                "",
            ]
        ),
        "Content-Encoding": st.sampled_from(["gzip", "identity", "br", "", "gzip, gzip"]),
        "Accept": st.sampled_from(["text/csv", "*/*", "text/csv;q=0", ";;", "application/json"]),
        "Accept-Encoding": st.sampled_from(["gzip", "gzip;q=0", ",", "zstd"]),
        "Authorization": st.sampled_from(["Bearer", "Bearer a.b", "Basic x", "Bearer \x80"]),
        "Range": st.just("bytes=0-1"),
        "If-None-Match": st.just("*"),
        "If-Match": st.sampled_from(["*", '"x"', "x", 'W/"x", "y"', ""]),
        "X-HTTP-Method-Override": st.just("DELETE"),
        "Cookie": st.just("a=b; c"),
    },
)
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, URL, dict[str, str], bytes]:
    route = draw(st.sampled_from(ROUTES))
    method = route.method if draw(st.integers(0, 9)) else draw(st.sampled_from(METHODS))
    path = route.path
    for variable, good in (
        ("slug", ["A", "B"]),
        ("key", ["A", "B"]),
        ("user_id", ["1", "7"]),
        ("period", ["2024-02"]),
        ("file", ["start.js"]),
    ):
        value = draw(st.one_of(st.sampled_from(good), WORDS))
        path = path.replace(f"{{{variable}}}", URL.build(path=f"/{value}").raw_path[1:])
    query = draw(st.one_of(st.just({}), st.dictionaries(NAMES, WORDS, max_size=3)))
    url = URL(path, encoded=True).with_query(query)
    headers = {"Content-Type": "application/json"} | draw(HEADERS)
    return method, url, headers, draw(BODIES)


@pytest.mark.parametrize("cases", [250, pytest.param(2500, marks=pytest.mark.slow)])
def test_generated_requests(dsn: str, cases: int) -> None:
    """Thousands of requests, most of them wrong, get no 500 and no answer outside the contract."""
    runner = asyncio.Runner()
    app = create_app(dsn, secret=SECRET, anonymous=True)

    async def start() -> TestClient[Any, Any]:
        client = TestClient(TestServer(app), auto_decompress=False)
        await client.start_server()
        return client

    client = runner.run(start())
    seen = Counter[int]()

    async def send(method: str, url: URL, headers: dict[str, str], body: bytes) -> Any:
        data = body if method in {"POST", "PUT", "PATCH"} else None
        async with asyncio.timeout(20), loop_is_given_back():
            response = await client.request(method, url, headers=headers, data=data)
            return response, await response.read()

    @settings(max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck))
    @given(request=requests())
    @example(request=("POST", URL("/api/v1/segments"), JSON, b"{"))  # 400, which chance may miss
    def check(request: tuple[str, URL, dict[str, str], bytes]) -> None:
        response, text = runner.run(send(*request))
        seen[response.status] += 1
        if response.status < 400:
            return
        if request[1].path.startswith("/ofrep/") and response.content_type == "application/json":
            assert (response.status, json.loads(text)["errorCode"]) in CODES, text
        elif request[0] != "HEAD":
            assert response.content_type == "application/problem+json", text
            problem = json.loads(text)
            kind = problem["type"].removeprefix("urn:segsvc:problem:")
            assert (response.status, kind) in ANSWERS, problem
        else:
            assert response.status != 500

    try:
        for slug, percent in (("A", None), ("B", 50)):
            body = {"slug": slug, "percent": percent}
            runner.run(send("POST", URL("/api/v1/segments"), JSON, json.dumps(body).encode()))
        with short_collections():
            check()
        assert {200, 400, 404, 422} <= set(seen), seen
    finally:
        runner.run(client.close())
        runner.close()


HEAD = b"POST /api/v1/segments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BROKEN = [
    b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS greeting
    b"\x00" * 1000 + b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET  / HTTP/1.1\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //:0 HTTP/1.1\r\nHost: [\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/segments?after=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n" + b"X: a\r\n" * 5000 + b"\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: a miracle\r\n\r\n",
    HEAD + b"Content-Length: -1\r\n\r\n{}",
    HEAD + b"Content-Length: 1e3\r\n\r\n{}",
    HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n",
    HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
    HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    HEAD + b"Content-Length: 100\r\n\r\n{}",
    HEAD + b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\n{}",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
]


async def test_broken_http(client: Client) -> None:
    """Malformed HTTP is refused or dropped, never a 500, and other clients are served."""

    async def answer(sent: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(sent)
        writer.write_eof()
        try:
            async with asyncio.timeout(20):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    answers = await asyncio.gather(*(answer(sent) for sent in BROKEN * 5))
    for sent, text in zip(BROKEN * 5, answers, strict=True):
        assert not text or text.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), (sent, text)
    assert (await client.get("/api/v1/users/1/segments")).status == 200
