"""`POST /segments/{slug}/members/add` and `/remove`: files of user ids."""

import asyncio
import codecs
import gzip
import io
import random
from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession
from aiohttp.pytest_plugin import AiohttpClient

from segsvc.api.reports.store import LIST_WRITERS
from segsvc.api.segments.store import LOCK_SLUG
from segsvc.api.users.store import LIST_AT
from segsvc.app import create_app
from segsvc.db.pool import Connection
from segsvc.http.app_keys import IMPORTS
from segsvc.settings import DEFAULT_LIMITS, Limits
from tests import lock_waits
from tests.api_calls import call, change, create, history, members, read, set_percent
from tests.conftest import SECRET, Client
from tests.processes import TIMEOUT, serving

A = "/api/v1/segments/A"
CSV = {"Content-Type": "text/csv"}
GREATEST_ID = 2**63 - 1


@pytest.fixture(autouse=True)
async def segment(client: Client) -> None:
    await create(client, "A")


async def send(
    client: Client, way: str, body: Any, status: int = 200, headers: dict[str, str] | None = None
) -> Any:
    path = f"/segments/A/members/{way}"
    data = io.BytesIO(body) if isinstance(body, bytes) else body
    return await call(client, "POST", path, status, data=data, headers=CSV | (headers or {}))


async def ids(client: Client) -> list[int]:
    return [member["user_id"] for member in await members(client, "A")]


def counts(received: int, changed: int) -> dict[str, int]:
    return {"received": received, "changed": changed, "unchanged": received - changed}


def lines(*user_ids: int) -> bytes:
    return "".join(f"{user_id}\n" for user_id in user_ids).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"1\n22\n333\n",
        b"1\n22\n333",
        b"user_id\n1\n22\n333\n",
        b"\xef\xbb\xbfuser_id\r\n1\r\n22\r\n333\r\n",
        b"\xef\xbb\xbf1\n22\n333\n",
        b'"user_id"\n"1"\n"22"\n"333"\n',
        b"\n\n1\n\r\n 22 \n\t333\n\n",
        b"333\n1\r\n22",
        b"1\r22\r333\r",
        b"USER ID\n1\n22\n333\n",
        b"UserId\n1\n22\n333\n",
        b"Id\r1\r22\r\r333",
        b"name;User ID\nIvan;1\nOlga;22\n;333\n;\n",
        b'id,name\r\n1,"Petrov, Ivan"\r\n22,"says ""no"""\r\n333,\r\n,\r\n',
        'имя;"user_id"\nИван;"1"\n;22\n;333\n'.encode("cp1251"),
        b"user_id,source,since,expires_at\n1,manual,2026-11-22T12:00:00.000000Z,\n22,a,b,\n333,,,\n",
        b"\t\tuserid\n\t\t1\na\tb\t22\n\t\t333\n",
        "User ID\tимя\r\n1\tИван\r\n22\t\r\n333\t\r\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "1\n22\n333".encode("utf-16-be"),
        gzip.compress(b"user_id\n1\n22\n333\n", mtime=0),
        gzip.compress("1\r\n22\r\n333".encode("utf-16"), mtime=0),
        b" " * 2000 + b"\n1" + b" " * 1500 + b"\n22\n333",
    ],
)
async def test_files(client: Client, body: bytes) -> None:
    """The formats that are unambiguous are read."""
    assert await send(client, "add", body) == counts(3, 3)
    assert await ids(client) == [1, 22, 333]
    assert await send(client, "remove", body) == counts(3, 3)
    assert await ids(client) == []


async def test_pieces(client: Client) -> None:
    """However a file is cut up on its way, its lines are the same."""

    async def one_by_one(text: bytes) -> Any:
        for i in range(len(text)):
            yield text[i : i + 1]
            await asyncio.sleep(0)

    for tricky in (
        b" " * 2000,
        b"1" + b" " * 1500 + b"\n2",
        gzip.compress(b"x\n" * 200)[:-1],
        gzip.compress(b"x\n" * 200) + b"no gzip",
        codecs.BOM_UTF16_LE + b"x\0\n\0" * 200 + b"1",
    ):
        path = f"{A}/members/remove"
        whole = await client.post(path, data=io.BytesIO(tricky), headers=CSV)
        parts = await client.post(path, data=one_by_one(tricky), headers=CSV)
        assert (parts.status, await parts.json()) == (whole.status, await whole.json())
        assert parts.status in {200, 422}
    body = b"\xef\xbb\xbfuser_id\r\n1\r\n22\r\n\r\n333\r\nx\r\n"
    answer = await send(client, "add", one_by_one(body), 422)
    assert [error["pointer"] for error in answer["errors"]] == ["#row=6"]
    assert await send(client, "add", one_by_one(body[:-3])) == counts(3, 3)
    assert await ids(client) == [1, 22, 333]


@pytest.mark.parametrize("body", [b"", b"\n", b"user_id", b"user_id\r\n\r\n", b"\xef\xbb\xbf"])
async def test_empty_files(client: Client, body: bytes) -> None:
    """A file without ids changes nothing and is accepted."""
    assert await send(client, "add", body) == counts(0, 0)
    assert await send(client, "remove", body) == counts(0, 0)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"PK\x03\x04" + b"\0" * 30, "the file is a zip archive or an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1", "the file is an old Excel workbook"),
        (gzip.compress(b"PK\x03\x04...", mtime=0), "the file is a zip archive"),
        (b"BZh91AY", "the file is compressed with bzip2"),
        (b'{"user_ids": [1]}', "the file is JSON"),
        (b"{\\rtf1\\ansi 1000}", "the file is an RTF document"),
        (b"<!doctype html>", "the file is HTML"),
        (gzip.compress(lines(1, 2), mtime=0)[:-9], "the file is gzip, but damaged or cut short"),
        ("1\n2".encode("utf-16-le"), "in UTF-16 without a byte order mark"),
        (codecs.BOM_UTF16_LE + b"1\0\n", "not valid UTF-16"),
        ("1\n2".encode("utf-32"), "the file is in UTF-32"),
        (b"1;Ivan\n2;Olga\n", "2 columns separated by semicolons and calls none of them user_id"),
        (b"1,234\n", "2 columns separated by commas and calls none of them user_id"),
        (b"id;User_ID\n1;2\n", "2 columns separated by semicolons and calls more than one of them"),
        (b"id,a;user_id\n1,a;2\n", "calls more than one of them user_id"),
        (b"1000;A;add;2026-11-22T12:00:00.000000Z\n", "4 columns separated by semicolons"),
    ],
)
async def test_other_formats(client: Client, body: bytes, sentence: str) -> None:
    """A file in another format is refused with a sentence that says what it is."""
    answer = await send(client, "add", body, 422)
    assert answer["type"] == "urn:segsvc:problem:wrong-format"
    assert sentence in answer["detail"]
    assert "; send one user id a line, or CSV with a header" in answer["detail"]
    assert await ids(client) == []


@pytest.mark.parametrize(
    ("body", "bad"),
    [
        (b"name\n1\n", [1]),
        (b"1.0E+09\n2\n", [1]),
        (b"user_id,name\n1,Ivan\n2\n3,Petrov, Ivan\n", [3, 4]),
        (b"name,age,user_id\nPetrov, Ivan,30,1000\n", [2]),
        (b'user_id,name\n1,"Ivan\n2",Olga\n3,"\n', [2, 3, 4]),
        (b'user_id,name\n"1\n2",Ivan\n', [2, 3]),
        (b'user_id,name\n"1,234",Ivan\n"1"2,Ivan\n', [2, 3]),
        (b"user_id,name\n,Ivan\n,\n1.0E+09,Olga\n", [2, 4]),
        (b'"1\n2"\n', [1, 2]),
        (b"1\n2\r3\n", [2]),
    ],
)
async def test_nothing_is_guessed(client: Client, body: bytes, bad: list[int]) -> None:
    """Lines whose id is not certain are refused by their numbers, those with open quotes too."""
    answer = await send(client, "add", body, 422)
    assert answer["type"] == "urn:segsvc:problem:invalid-lines"
    assert [e["pointer"] for e in answer["errors"]] == [f"#row={number}" for number in bad]
    assert answer["detail"].startswith("send one user id a line, or CSV with a header")
    assert await ids(client) == []


async def test_own_export(client: Client) -> None:
    """The list of one segment is a file for another one."""
    await send(client, "add", lines(1, 22, 333))
    listed = await client.get(f"{A}/members", headers={"Accept": "text/csv"})
    await create(client, "B")
    path = "/segments/B/members/add"
    assert await call(client, "POST", path, data=await listed.read(), headers=CSV) == counts(3, 3)


async def test_duplicates_count_once(client: Client) -> None:
    """A user who is in the file many times is changed at most once."""
    assert await send(client, "add", lines(1, 2, 1, 1)) == counts(4, 2)
    assert await send(client, "add", lines(3, 1, 3)) == counts(3, 1)
    assert await send(client, "remove", lines(3, 3, 4)) == counts(3, 1)


async def test_greatest_ids(client: Client) -> None:
    """Ids go up to 2^63 - 1, and one more is refused."""
    great = [8_999_999_999_999_999_999, 9_000_000_000_000_000_000, GREATEST_ID]
    assert await send(client, "add", lines(*great)) == counts(3, 3)
    assert await ids(client) == great
    await send(client, "add", lines(GREATEST_ID + 1), 422)


@pytest.mark.parametrize(
    "bad",
    [
        b"0", b"-1", b"+1", b"1.0", b"1e3", b"01", b"1_0", b"x", b"1;2", b"1,2", b"1 2", b'"1',
        b"NULL", b"\\N", b"\\.", b"\\1", b"\0", b"1\0", b"\xff", b"user_id", "١".encode(),
        b"1\r1", b"9223372036854775808", b"1" * 30, b"1" * 5000,
    ],
)  # fmt: skip
async def test_bad_lines(client: Client, bad: bytes) -> None:
    """A line that is not a user id is named with its number, and nothing is changed."""
    body = b"1\n\n" + bad + b"\n2\n" + bad + b"\n"
    answer = await send(client, "add", body, 422)
    assert answer["type"] == "urn:segsvc:problem:invalid-lines"
    pointers = [error["pointer"] for error in answer["errors"]]
    assert pointers == ["#row=3", "#row=5"]
    assert "line 3 " in answer["errors"][0]["detail"]
    assert await ids(client) == []


async def test_first_hundred_bad_lines(client: Client) -> None:
    """Of many bad lines the first hundred are named."""
    answer = await send(client, "add", b"user_id\n" + b"1\nx\n" * 200_000, 422)
    assert [e["pointer"] for e in answer["errors"]] == [f"#row={2 * n + 1}" for n in range(1, 101)]
    assert "not read beyond line 201" in answer["detail"]


async def test_endless_line(client: Client) -> None:
    """A file that is not lines of text is refused before all of it was sent."""

    async def endless() -> Any:
        yield b"1\n"
        while True:
            yield b"1" * 10_000
            await asyncio.sleep(0)

    answer = await send(client, "add", endless(), 422)
    assert [error["pointer"] for error in answer["errors"]] == ["#row=2"]


async def test_refused_file_leaves_no_trace(client: Client, conn: Connection) -> None:
    """Users of a refused file are not even known."""
    for body, headers, status in (
        (b"1\nx\n", {}, 422),
        (b"1\n", {"Content-Type": "application/json"}, 422),
        (b"1\n", {"Content-Type": "text/plain"}, 415),
        (b"1\n", {"Content-Type": "text/csv; charset=windows-1251"}, 415),
        (b"1\n", {"Content-Encoding": "br"}, 415),
        (gzip.compress(lines(*range(1, 100_000)))[:-1], {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(lines(*range(1, 100_000)))[:10_000], {"Content-Encoding": "gzip"}, 400),
    ):
        await send(client, "add", body, status, headers)
        await send(client, "remove", body, status, headers)
    for wrong in ("?expires_at=2020-01-01T00:00:00Z", "?ttl=0", "?ttl=x", "?expires_at=tomorrow",
                  "?ttl=1&expires_at=2099-01-01T00:00:00Z", "?until=1"):  # fmt: skip
        await send(client, f"add{wrong}", b"1\n", 422)
    await send(client, "remove?ttl=60", b"1\n", 422)
    assert await conn.fetchval("SELECT count(*) FROM users") == 0
    assert await conn.fetchval("SELECT count(*) FROM membership") == 0


async def test_unknown_segment_is_told_before_the_file_is_sent(client: Client) -> None:
    """A slug that is not live is answered without waiting for the file."""

    async def endless() -> Any:
        while True:
            yield b"1\n"
            await asyncio.sleep(0)

    for slug in ("NONE", "%00"):
        path = f"/api/v1/segments/{slug}/members/add"
        response = await client.post(path, data=endless(), headers=CSV)
        assert response.status == 404
        assert (await response.json())["type"] == "urn:segsvc:problem:segment-not-found"


async def test_gzip(client: Client) -> None:
    """A compressed file is read, in several members too."""
    body = gzip.compress(lines(*range(1, 50_000))) + gzip.compress(lines(*range(50_000, 100_001)))
    answer = await send(client, "add", body, headers={"Content-Encoding": "gzip"})
    assert answer == counts(100_000, 100_000)


async def test_limit_of_the_operator(
    aiohttp_client: AiohttpClient, client: Client, dsn: str
) -> None:
    """A file of more ids than the operator allows is refused, and says so."""
    small = await aiohttp_client(
        create_app(dsn, secret=SECRET, anonymous=True, limits=Limits(import_lines=3))
    )
    assert await send(small, "add", lines(1, 2, 3)) == counts(3, 3)
    answer = await send(small, "remove", lines(1, 2, 3, 4), 413)
    assert "3 user ids" in answer["detail"]
    assert await ids(client) == [1, 2, 3]


async def test_expiry(client: Client) -> None:
    """Adding takes an end, and adding again moves it."""
    assert await send(client, "add?ttl=3600", lines(1, 2)) == counts(2, 2)
    until = "2099-01-01T00:00:00.000000Z"
    assert await send(client, f"add?expires_at={until}", lines(2, 3)) == counts(2, 2)
    assert await send(client, f"add?expires_at={until}", lines(2, 3)) == counts(2, 0)
    listed = await members(client, "A")
    assert [member["expires_at"] for member in listed[1:]] == [until, until]
    assert await send(client, "add", lines(1, 2, 3)) == counts(3, 3)
    listed = await members(client, "A")
    assert [member["expires_at"] for member in listed] == [None] * 3


async def test_causes(client: Client) -> None:
    """In the history, what a file did is what single requests would have done."""
    await send(client, "add?ttl=3600", lines(1))
    await send(client, "remove", lines(1))
    await send(client, "add", lines(1))
    await send(client, "remove", lines(1))
    await send(client, "add", lines(1))
    assert await history(client, 1) == [
        ("A", "add", "added"),
        ("A", "remove", "removed"),
        ("A", "add", "added"),
        ("A", "remove", "removed"),
        ("A", "add", "added"),
    ]


@pytest.mark.slow
async def test_a_million(client: Client, conn: Connection) -> None:
    """A million in, again, half of them out, and again: the counts are exact."""
    million = 1_000_000
    everyone = list(range(1, million + 1))
    random.Random(4).shuffle(everyone)
    file, half = lines(*everyone), lines(*everyone[::2])
    assert await send(client, "add", file) == counts(million, million)
    assert await send(client, "add", file) == counts(million, 0)
    assert await send(client, "remove", half) == counts(million // 2, million // 2)
    assert await send(client, "remove", half) == counts(million // 2, 0)
    assert (await (await client.get(A)).json())["members"] == million // 2
    rows = await conn.fetch(LIST_AT, everyone[:1000], None)
    assert [row["segments"] for row in rows] == [[], ["A"]] * 500


async def test_beside_single_requests(client: Client, conn: Connection) -> None:
    """Beside single requests on the same users nothing deadlocks, and no change is lost."""
    users = range(1, 201)
    await create(client, "B", 50)
    done = Counter[str]()

    async def import_all(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(12):
            slug, way = chance.choice("AB"), chance.choice(["add", "remove"])
            body = lines(*chance.sample(users, 150))
            path = f"/segments/{slug}/members/{way}"
            answer = await call(client, "POST", path, data=body, headers=CSV)
            done[slug] += answer["changed"]

    async def change_singly(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(150):
            add, remove = chance.sample("AB", 2)
            answer = await change(client, chance.choice(users), add=[add], remove=[remove])
            done.update([*answer["added"], *answer["removed"]])

    async def change_percentage() -> None:
        for percent in (10, 90, 0, 100) * 5:
            await set_percent(client, "B", percent)

    work = [import_all(seed) for seed in range(DEFAULT_LIMITS.imports)]
    work += [change_singly(seed) for seed in range(4)]
    await asyncio.gather(*work, change_percentage())
    overlapping = """
        SELECT count(*) FROM membership AS a JOIN membership AS b
        ON a.user_id = b.user_id AND a.segment_id = b.segment_id AND a.valid_from < b.valid_from
        AND b.valid_from < a.valid_to
    """
    assert await conn.fetchval(overlapping) == 0
    # Each change opens a period.
    for segment_id, slug in ((1, "A"), (2, "B")):
        opened = "SELECT count(*) FROM membership WHERE segment_id = $1"
        assert await conn.fetchval(opened, segment_id) == done[slug]


async def test_slots(client: Client) -> None:
    """Beside imports that are under way others are told to wait; vanished clients free theirs."""
    uploads = []
    for _ in range(DEFAULT_LIMITS.imports):
        _, writer = await asyncio.open_connection(client.host, client.port)
        head = f"POST {A}/members/add HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        writer.write(f"{head}Content-Length: 1000\r\n\r\n1\n2\n".encode())
        uploads.append(writer)
    assert client.app
    slots = client.app[IMPORTS].slots
    async with asyncio.timeout(TIMEOUT):
        while not slots.locked():  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert (await send(client, "add", b"1\n", 503))["type"] == "urn:segsvc:problem:busy"
    assert await read(client, 1) == []
    for writer in uploads:
        writer.close()
    async with asyncio.timeout(TIMEOUT), slots:
        pass
    assert await ids(client) == []
    assert await send(client, "add", b"1\n2\n") == counts(2, 2)


async def test_upload_holds_nobody(client: Client, conn: Connection) -> None:
    """While a file is on its way, its users and segment are free, and no report waits for it."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> Any:
        yield lines(*range(1, 100_000))
        arrived.set()
        await go_on.wait()
        yield b"100000\n"

    upload = asyncio.create_task(send(client, "add", slow()))
    await arrived.wait()
    staging = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'COPY%' AND backend_xid IS NOT NULL
    """
    await lock_waits.state(conn, staging)
    await set_percent(client, "A", 10)
    await change(client, 1, add=["A"])
    now = await conn.fetchval("SELECT clock_timestamp()")
    assert await conn.fetch(LIST_WRITERS, now) == []
    go_on.set()
    assert await upload == counts(100_000, 99_999)


def in_the_way(
    dsn: str, statement: str = "INSERT INTO users VALUES (3, now())"
) -> AbstractAsyncContextManager[Connection]:
    """Hold what an import must wait for: by default, what one of user 3 must."""
    return lock_waits.holding(dsn, statement)


async def test_users_are_locked_in_order(client: Client, conn: Connection, dsn: str) -> None:
    """An import that waits for a user holds none with a greater id, so that nobody deadlocks."""
    async with in_the_way(dsn):
        importing = asyncio.create_task(send(client, "add", lines(5, 3, 4)))
        await lock_waits.state(conn)
        await conn.execute("SET lock_timeout = '1s'")
        await conn.execute("INSERT INTO users VALUES (4, now()), (5, now())")
    assert await importing == counts(3, 3)


async def test_import_waits_for_its_turn(client: Client, conn: Connection, dsn: str) -> None:
    """An import takes its turn after a change of the segment that came first."""
    async with in_the_way(dsn, LOCK_SLUG.replace("$1", "'A'")):
        importing = asyncio.create_task(send(client, "add", lines(1)))
        await lock_waits.state(conn)
    assert await importing == counts(1, 1)


async def test_database_is_gone_in_the_middle(client: Client, conn: Connection, dsn: str) -> None:
    """An import whose connection dies is answered 503, leaves nothing, and may be repeated."""
    async with in_the_way(dsn):
        importing = asyncio.create_task(send(client, "add", lines(1, 2, 3), 503))
        pid = await lock_waits.state(conn)
        await conn.execute("SELECT pg_terminate_backend($1)", pid)
        assert (await importing)["type"] == "urn:segsvc:problem:database-unavailable"
    assert await ids(client) == []
    assert await conn.fetchval("SELECT array_agg(id) FROM users") == [3]
    assert await send(client, "add", lines(1, 2, 3)) == counts(3, 3)


@pytest.mark.slow
async def test_service_is_killed_in_the_middle(dsn: str, conn: Connection) -> None:
    """A service killed in the middle of an import leaves nothing, and holds no lock for long."""

    async def post(url: str) -> Any:
        async with (
            ClientSession() as session,
            session.post(f"{url}{A}/members/add", data=lines(1, 2, 3), headers=CSV) as response,
        ):
            return await response.json()

    with serving(database_url=dsn) as (url, process):
        async with in_the_way(dsn):
            importing = asyncio.create_task(post(url))
            await lock_waits.state(conn)
            process.kill()
            with pytest.raises(ClientError):
                await importing
            # Before the lock that it waited for is released.
            await lock_waits.state(conn, f"SELECT NOT EXISTS ({lock_waits.LOCK_WAIT})")
        assert await conn.fetchval("SELECT array_agg(id) FROM users") == [3]
    with serving(database_url=dsn) as (url, _):
        assert await post(url) == counts(3, 3)
