"""The error contract: every status, type and pointer that a client can get, in one place."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.pytest_plugin import AiohttpClient
from aiohttp.test_utils import TestClient, TestServer

from segsvc.app import create_app
from segsvc.db.pool import Connection
from segsvc.http import problems
from segsvc.settings import DEFAULT_LIMITS, Limits
from tests.api_calls import call, create, read
from tests.conftest import SECRET, Client, Databases, database_name

SEGMENTS = "/api/v1/segments"
TAKEN = f"{SEGMENTS}/TAKEN"
LAYERS = "/api/v1/layers"
USER = "/api/v1/users/1000/segments"
USERS = "/api/v1/users/segments"
JSON = "application/json"
GREATEST_ID = 2**63 - 1
LONGEST_SLUG = "S" * 64

# method, path, content type, body -> status, type, pointers
Row = tuple[str, str, str | None, Any, int, str, list[str]]
CONTRACT: dict[str, Row] = {
    # 400
    "nothing": ("POST", SEGMENTS, JSON, b"", 400, "not-json", []),
    "not JSON": ("POST", SEGMENTS, JSON, b"{slug: A}", 400, "not-json", []),
    "half of it": ("POST", SEGMENTS, JSON, b'{"slug": "A"', 400, "not-json", []),
    "bad UTF-8": ("POST", SEGMENTS, JSON, b'{"slug": "\xff"}', 400, "not-json", []),
    "NaN": ("POST", SEGMENTS, JSON, b'{"slug": NaN}', 400, "not-json", []),
    "Infinity": ("POST", SEGMENTS, JSON, b'{"slug": -Infinity}', 400, "not-json", []),
    "duplicate keys": ("POST", SEGMENTS, JSON, b'{"slug":"A","slug":"B"}', 400, "not-json", []),
    "too deep": ("POST", SEGMENTS, JSON, b"[" * 100_000, 400, "not-json", []),
    "too many digits": ("POST", SEGMENTS, JSON, b"9" * 10_000, 400, "not-json", []),
    "huge exponent": ("POST", SEGMENTS, JSON, b'{"slug": "A", "percent": 1e99999999999999999999}',
                      400, "not-json", []),
    # 403
    "no such link": ("GET", "/api/v1/reports/2024-02.csv", None, None, 403, "link-refused", []),
    # 404, 405
    "no such route": ("GET", "/api/v1/segment", None, None, 404, "not-found", []),
    "no such method": ("PUT", SEGMENTS, None, None, 405, "method-not-allowed", []),
    "unknown segment": ("GET", f"{SEGMENTS}/NONE", None, None, 404, "segment-not-found", []),
    "deleting none": ("DELETE", f"{SEGMENTS}/NONE", None, None, 404, "segment-not-found", []),
    "impossible slug": ("GET", f"{SEGMENTS}/%00", None, None, 404, "segment-not-found", []),
    "slug of 65": ("GET", f"{SEGMENTS}/{'S' * 65}", None, None, 404, "segment-not-found", []),
    "unknown layer": ("GET", "/api/v1/layers/NONE", None, None, 404, "layer-not-found", []),
    "impossible layer": ("DELETE", "/api/v1/layers/%00", None, None, 404, "layer-not-found", []),
    # 409
    "taken": ("POST", SEGMENTS, JSON, {"slug": "TAKEN"}, 409, "slug-taken", []),
    # 413, 415
    "too large": ("POST", SEGMENTS, JSON, b" " * (DEFAULT_LIMITS.body + 1), 413, "too-large", []),
    "no type": ("POST", SEGMENTS, None, b'{"slug": "A"}', 415, "unsupported-media-type", []),
    "form": (
        "POST", SEGMENTS, "application/x-www-form-urlencoded", b"slug=A",
        415, "unsupported-media-type", [],
    ),
    "charset": (
        "POST", SEGMENTS, "application/json; charset=latin-1", b"{}",
        415, "unsupported-media-type", [],
    ),
    # 422: the body
    "a list": ("POST", SEGMENTS, JSON, [], 422, "invalid-request", ["#"]),
    "a string": ("POST", SEGMENTS, JSON, b'"A"', 422, "invalid-request", ["#"]),
    "null": ("POST", SEGMENTS, JSON, b"null", 422, "invalid-request", ["#"]),
    "no slug": ("POST", SEGMENTS, JSON, {}, 422, "invalid-request", ["#/slug"]),
    "slug null": ("POST", SEGMENTS, JSON, {"slug": None}, 422, "invalid-request", ["#/slug"]),
    "slug 1": ("POST", SEGMENTS, JSON, {"slug": 1}, 422, "invalid-request", ["#/slug"]),
    "slug empty": ("POST", SEGMENTS, JSON, {"slug": ""}, 422, "invalid-request", ["#/slug"]),
    "slug blank": ("POST", SEGMENTS, JSON, {"slug": " "}, 422, "invalid-request", ["#/slug"]),
    "slug padded": ("POST", SEGMENTS, JSON, {"slug": "A "}, 422, "invalid-request", ["#/slug"]),
    "slug line": ("POST", SEGMENTS, JSON, {"slug": "A\n"}, 422, "invalid-request", ["#/slug"]),
    "slug NUL": ("POST", SEGMENTS, JSON, {"slug": "A\0"}, 422, "invalid-request", ["#/slug"]),
    "slug digit": ("POST", SEGMENTS, JSON, {"slug": "1A"}, 422, "invalid-request", ["#/slug"]),
    "slug accent": ("POST", SEGMENTS, JSON, {"slug": "É"}, 422, "invalid-request", ["#/slug"]),
    "slug 65": ("POST", SEGMENTS, JSON, {"slug": "S" * 65}, 422, "invalid-request", ["#/slug"]),
    "text NUL": (
        "POST", SEGMENTS, JSON, {"slug": "A", "description": "\0"},
        422, "invalid-request", ["#/description"],
    ),
    "text surrogate": (
        "POST", SEGMENTS, JSON, rb'{"slug": "A", "description": "\ud800"}',
        422, "invalid-request", ["#/description"],
    ),
    "text long": (
        "POST", SEGMENTS, JSON, {"slug": "A", "description": "x" * 1001},
        422, "invalid-request", ["#/description"],
    ),
    "unknown fields": (
        "POST", SEGMENTS, JSON, {"slug": "A", "a/b~c d": 1, "percnt": 1},
        422, "invalid-request", ["#/a~1b~0c%20d", "#/percnt"],
    ),
    "field surrogate": (
        "POST", SEGMENTS, JSON, rb'{"slug": "A", "\ud800": 1}', 422, "invalid-request", ["#/%3F"],
    ),
    "two faults": (
        "POST", SEGMENTS, JSON, {"description": 1}, 422, "invalid-request",
        ["#/description", "#/slug"],
    ),
    "empty change": ("POST", USER, JSON, {}, 422, "invalid-request", ["#"]),
    "empty lists": ("POST", USER, JSON, {"add": [], "remove": []}, 422, "invalid-request", ["#"]),
    "not a list": ("POST", USER, JSON, {"add": "A"}, 422, "invalid-request", ["#/add"]),
    "add null": ("POST", USER, JSON, {"add": None}, 422, "invalid-request", ["#/add"]),
    "bad slugs": (
        "POST", USER, JSON, {"add": ["TAKEN", "", 7], "remove": [" "]}, 422, "invalid-request",
        ["#/add/1", "#/add/2", "#/remove/0"],
    ),
    "both lists": (
        "POST", USER, JSON, {"add": ["TAKEN"], "remove": ["X", "TAKEN"]}, 422, "invalid-request",
        ["#/remove/1"],
    ),
    "one too many": (
        "POST", USER, JSON, {"add": ["TAKEN"] * 1001}, 422, "invalid-request", ["#/add"],
    ),
    "conflict": (
        "POST", USER, JSON, {"add": ["TAKEN"], "on_conflict": "skip"}, 422, "invalid-request",
        ["#/on_conflict"],
    ),
    "no segments": ("POST", LAYERS, JSON, {"slug": "L"}, 422, "invalid-request", ["#/segments"]),
    "segment twice": (
        "POST", LAYERS, JSON, {"slug": "L", "segments": ["TAKEN", "TAKEN"]}, 422,
        "invalid-request", ["#/segments/1"],
    ),
    "redeal 1": (
        "POST", LAYERS, JSON, {"slug": "L", "segments": ["TAKEN"], "redeal": "yes"}, 422,
        "invalid-request", ["#/redeal"],
    ),
    "unknown in a layer": (
        "POST", LAYERS, JSON, {"slug": "L", "segments": ["TAKEN", "NONE"]}, 422,
        "unknown-segments", ["#/segments/1"],
    ),
    "too many segments": (
        "POST", LAYERS, JSON, {"slug": "L", "segments": [f"S{n}" for n in range(101)]}, 422,
        "invalid-request", ["#/segments"],
    ),
    "no change": ("PATCH", f"{LAYERS}/L", JSON, {}, 422, "invalid-request", ["#"]),
    "percents": (
        "PATCH", f"{LAYERS}/L", JSON, {"percents": {"A": 101, "1": 5}}, 422, "invalid-request",
        ["#/percents/1/key", "#/percents/A/value"],
    ),
    "in and out": (
        "PATCH", f"{LAYERS}/L", JSON, {"add": ["A"], "remove": ["A"]}, 422, "invalid-request",
        ["#/remove/0"],
    ),
    "plan of nothing": (
        "PATCH", f"{LAYERS}/L", JSON, {"add": ["A"], "plan": "keep"}, 422, "invalid-request",
        ["#/plan"],
    ),
    "misspelt": (
        "POST", USER, JSON, {"add": ["TAKEN"], "expire_at": "x"}, 422, "invalid-request",
        ["#/expire_at"],
    ),
    "unknown slugs": (
        "POST", USER, JSON, {"add": ["TAKEN", "NONE"], "remove": ["NIL"]},
        422, "unknown-segments", ["#/add/1", "#/remove/0"],
    ),
    "a thousand unknown": (
        "POST", USER, JSON, {"add": [LONGEST_SLUG] * 1000}, 422, "unknown-segments",
        [f"#/add/{i}" for i in range(100)],
    ),
    "patch of none": ("PATCH", f"{SEGMENTS}/NONE", JSON, {"percent": 1},
                      404, "segment-not-found", []),
    "empty patch": ("PATCH", TAKEN, JSON, {}, 422, "invalid-request", ["#"]),
    "patch null": ("PATCH", TAKEN, JSON, {"description": None}, 422, "invalid-request",
                   ["#/description"]),
    "patch slug": ("PATCH", TAKEN, JSON, {"slug": "B"}, 422, "invalid-request", ["#/slug"]),
    "no users": ("POST", USERS, JSON, {"user_ids": []}, 422, "invalid-request", ["#/user_ids"]),
    "users missing": ("POST", USERS, JSON, {}, 422, "invalid-request", ["#/user_ids"]),
    "1001 users": ("POST", USERS, JSON, {"user_ids": [1] * 1001}, 422, "invalid-request",
                   ["#/user_ids"]),
    "wrong users": (
        "POST", USERS, JSON,
        {"user_ids": [1, 0, -1, GREATEST_ID + 1, 1.5, 1.0, "01", True, None, [], GREATEST_ID]},
        422, "invalid-request", [f"#/user_ids/{i}" for i in range(1, 10)],
    ),
    "many unknown fields": (
        "POST", SEGMENTS, JSON, {f"f{i:03}": 1 for i in range(101)}, 422, "invalid-request", ["#"],
    ),
    "too many members": (
        "POST", SEGMENTS, JSON, {f"f{i:x}": 1 for i in range(20_000)}, 413, "too-large", [],
    ),
    "many wrong ids": (
        "POST", USERS, JSON, {"user_ids": [0] * 1000}, 422, "invalid-request",
        [f"#/user_ids/{i}" for i in range(100)],
    ),
    "many unknown parameters": (
        "GET", f"{SEGMENTS}?{'&'.join(f'p{i:03}=' for i in range(900))}", None, None,
        422, "invalid-request", [f"#/p{i:03}" for i in range(100)],
    ),
    # 422: the path and the query
    "memberships of 0": ("GET", "/api/v1/users/0/memberships", None, None,
                         422, "invalid-request", ["#/user_id"]),
    **{
        f"at {at}": ("GET", f"{USER}?at={at}", None, None, 422, "invalid-request", ["#/at"])
        for at in ("", "now", "2026-11-22", "2026-11-22T00:00:00", "2026-11-22T00:00:00+03:00",
                   "2026-13-01T00:00:00Z", "1795305600", "%00", "infinity",
                   "9999-12-31T23:59:59.999999Z")
    },
    **{
        f"{method} user {wrong}": (
            method, f"/api/v1/users/{wrong}/segments", JSON, body,
            422, "invalid-request", ["#/user_id"],
        )
        for wrong in ("0", "-1", GREATEST_ID + 1, "1.5", '"1"', "true", "x", "+1", "01", "1_0",
                      "%20", "%D9%A1", "9" * 100, "%00")
        for method, body in (("GET", None), ("POST", {"add": ["TAKEN"]}))
    },
    # 422: a file
    "no user ids": (
        "POST", f"{TAKEN}/members/add", "text/csv", b"1\nx\n2\n-1\n",
        422, "invalid-lines", ["#row=2", "#row=4"],
    ),
    "nobody listed": ("PUT", f"{TAKEN}/members", "text/csv", b"id\n", 422, "nobody-listed", []),
    "a set of nothing": (
        "POST", f"{TAKEN}/members/add", JSON, {"from": {}}, 422, "invalid-request", ["#/from"],
    ),
    "a set of unknown segments": (
        "POST", SEGMENTS, JSON, {"slug": "NEW", "from": {"all_of": ["TAKEN", "NONE"]}},
        422, "unknown-segments", ["#/from/all_of/1"],
    ),
    "a workbook as a file": (
        "POST", f"{TAKEN}/members/add", "text/csv", b"PK\x03\x04",
        422, "wrong-format", [],
    ),
    "limit 0": ("GET", f"{SEGMENTS}?limit=0", None, None, 422, "invalid-request", ["#/limit"]),
    "limit 1001": ("GET", f"{SEGMENTS}?limit=1001", None, None, 422, "invalid-request",
                   ["#/limit"]),
    **{
        f"limit {limit}": ("GET", f"{SEGMENTS}?limit={limit}", None, None,
                           422, "invalid-request", ["#/limit"])
        for limit in ("", "-1", "1_0", "%2B5", "%EF%BC%91", "1.5")
    },
    "limit x": ("GET", f"{SEGMENTS}?limit=x", None, None, 422, "invalid-request", ["#/limit"]),
    "after": ("GET", f"{SEGMENTS}?after=%00", None, None, 422, "invalid-request", ["#/after"]),
    "twice": ("GET", f"{SEGMENTS}?after=A&after=B", None, None, 422, "invalid-request",
              ["#/after"]),
    "cursor of the feed": ("GET", "/api/v1/events?after=x", None, None, 422, "invalid-request",
                           ["#/after"]),
    "segment of the feed": ("GET", "/api/v1/events?segment=TAKEN,OTHER", None, None, 422,
                            "invalid-request", ["#/segment"]),
    "wait for the feed": ("GET", f"{SEGMENTS}/TAKEN/events?wait=31", None, None, 422,
                          "invalid-request", ["#/wait"]),
    "feed of no segment": ("GET", f"{SEGMENTS}/OTHER/events", None, None, 404,
                           "segment-not-found", []),
    "unknown parameter": ("GET", f"{SEGMENTS}?lmit=1", None, None, 422, "invalid-request",
                          ["#/lmit"]),
    "parameter beside a body": (
        "POST", f"{USER}?ttl=60", JSON, {"add": ["TAKEN"]}, 422, "invalid-request", ["#/ttl"],
    ),
    "parameter of a segment": ("GET", f"{SEGMENTS}/TAKEN?at=1", None, None, 422,
                               "invalid-request", ["#/at"]),
    "parameter of none": ("GET", f"{USER}?att=1", None, None, 422, "invalid-request", ["#/att"]),
}  # fmt: skip


@pytest.fixture(scope="module")
async def contract_client(new_database: Databases, template: str) -> AsyncIterator[Client]:
    """One service for all rows: a refused request leaves no trace in it."""
    app = create_app(await new_database(template), secret=SECRET, anonymous=True)
    async with TestClient(TestServer(app)) as client:
        await create(client, "TAKEN")
        yield client


@pytest.mark.parametrize("row", CONTRACT.values(), ids=CONTRACT)
async def test_contract(contract_client: Client, row: Row) -> None:
    """A bad request gets its status, type and pointers, and leaves no trace."""
    method, path, content_type, body, status, kind, pointers = row
    sent: dict[str, Any] = {"skip_auto_headers": ["Content-Type"]}
    if body is not None:
        sent["data" if isinstance(body, bytes) else "json"] = body
    if content_type:
        sent = {**sent, "headers": {"Content-Type": content_type}, "skip_auto_headers": []}
    response = await contract_client.request(method, path, **sent)
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    problem = await response.json()
    assert problem["type"] == f"urn:segsvc:problem:{kind}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    errors = problem.get("errors", [])
    assert [error["pointer"] for error in errors] == pointers
    assert all(error["detail"] for error in errors)
    listed = await call(contract_client, "GET", "/segments")
    assert [segment["slug"] for segment in listed["segments"]] == ["TAKEN"]
    assert await read(contract_client, 1000) == []


def test_contract_is_whole() -> None:
    """The contract has a row for every problem, except those that other tests cause."""
    reached = {(row[4], row[5]) for row in CONTRACT.values()}
    elsewhere = {
        problems.KeyRequired,
        problems.MalformedRequest,
        problems.PlanPending,
        problems.PlanChanged,
        problems.LayerSlugTaken,
        problems.InAnotherLayer,
        problems.NotEnoughFree,
        problems.RedealNeeded,
        problems.ElsewhereInLayer,
        problems.UnsupportedExpectation,
        problems.TooManyRequests,
        problems.TooManyNewUsers,
        problems.EditorRequired,
        problems.FollowerRequired,
        problems.EventsGone,
        problems.BrokenBody,
        problems.TooSlow,
        problems.InternalError,
        problems.DatabaseUnavailable,
        problems.Busy,
        problems.WrongSchema,
        problems.WrongSetup,
        problems.ReadOnly,
        problems.IncompleteReport,
    }
    assert reached == {
        (p.status, p.slug) for p in problems.Problem.__subclasses__() if p not in elsewhere
    }


async def test_method_not_allowed_names_the_methods(client: Client) -> None:
    """A 405 says in its Allow header what would be allowed."""
    response = await client.put(SEGMENTS)
    assert response.headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("encoding", "body", "status", "kind"),
    [
        ("gzip", gzip.compress(b'{"slug": "GZIP"}'), 201, None),
        ("gzip", gzip.compress(b'{"slug":') + gzip.compress(b'"GZIP"}'), 201, None),
        ("gzip", gzip.compress(b'{"slug": "GZIP"' + b" " * 200_000 + b"}"), 201, None),
        ("identity", b'{"slug": "PLAIN"}', 201, None),
        ("lzma", b'{"slug": "LZMA"}', 415, "unsupported-media-type"),
        ("gzip", b"not gzip", 400, "broken-body"),
        ("gzip", gzip.compress(b'{"slug": "GZIP"}')[:-1], 400, "broken-body"),
        ("gzip", gzip.compress(b'{"slug": "GZIP"}') + b"x", 400, "broken-body"),
        ("gzip", b"", 400, "broken-body"),
        ("gzip", gzip.compress(b" " * 50_000_000), 413, "too-large"),
    ],
    ids=["good", "in parts", "dense", "plain", "unknown", "garbage", "cut short", "more", "empty",
         "a bomb"],
)  # fmt: skip
async def test_compressed_bodies(
    client: Client, encoding: str, body: bytes, status: int, kind: str | None
) -> None:
    """A gzip body is read; a broken or an exploding one is refused."""
    headers = {"Content-Type": JSON, "Content-Encoding": encoding}
    response = await client.post(SEGMENTS, data=body, headers=headers)
    assert response.status == status
    assert kind is None or (await response.json())["type"] == f"urn:segsvc:problem:{kind}"


async def test_stalling_client(aiohttp_client: AiohttpClient, dsn: str) -> None:
    """A client that stops in the middle of its body is told so, and waited for no longer."""
    app = create_app(dsn, secret=SECRET, anonymous=True, limits=Limits(stall_seconds=1))
    client = await aiohttp_client(app)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    head = f"POST {SEGMENTS} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\n"
    writer.write(f'{head}Content-Length: 100\r\n\r\n{{"slug": '.encode())
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 20)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"urn:segsvc:problem:too-slow" in answer


async def test_defects_keep_their_secrets(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An unforeseen error answers a bare 500, and is logged with its traceback."""

    async def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("segsvc.api.segments.store.get", broken)
    response = await client.get(f"{SEGMENTS}/A")
    assert response.status == 500
    problem = await response.json()
    assert problem["type"] == "urn:segsvc:problem:internal-error"
    assert "secret" not in str(problem)
    assert "RuntimeError: a secret" in caplog.text


async def test_database_away_and_back(
    client: Client, dsn: str, template: str, admin: Connection
) -> None:
    """Without its database the service answers 503 with Retry-After, and recovers by itself."""
    name = database_name(dsn)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    for _ in range(20):
        response = await client.get(USER)
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert (await response.json())["type"] == "urn:segsvc:problem:database-unavailable"
    assert (await client.get("/healthz")).status == 200
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    assert (await client.get(USER)).status == 200


async def test_read_only_database_is_unavailable(
    client: Client, dsn: str, admin: Connection
) -> None:
    """A server that refuses writes, as a standby does, is answered 503 and not 500."""
    name = database_name(dsn)
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
    )
    statuses = [(await client.post(SEGMENTS, json={"slug": "A"})).status for _ in range(3)]
    assert statuses == [503, 503, 503]
