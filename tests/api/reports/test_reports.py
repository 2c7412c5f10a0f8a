"""`/reports`: links, and the CSV of a month."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientSession
from aiohttp.pytest_plugin import AiohttpClient
from aiohttp.web import Application
from yarl import URL

from segsvc.api.reports import links, store
from segsvc.api.reports.months import Month
from segsvc.api.users import store as users
from segsvc.app import create_app
from segsvc.db import clock
from segsvc.db.pool import Connection, session
from segsvc.http.app_keys import EXPORTS
from segsvc.settings import DEFAULT_LIMITS, Limits
from tests import lock_waits
from tests.api_calls import change, create
from tests.conftest import SECRET, Client, of_role
from tests.processes import TIMEOUT, serving

PATH = "/api/v1/reports"
PLAIN = {"Accept-Encoding": "identity"}

# Users 1, 2 and 3 were known in 2023. A is manual, B takes everyone in March 2024, C was deleted,
# D takes everyone from June on.
PAST = """
    INSERT INTO segment (slug, description, created_at, deleted_at) VALUES
        ('A', '', '2023-01-01', 'infinity'),
        ('B', '', '2024-03-10', 'infinity'),
        ('C', '', '2023-01-01', '2024-03-20'),
        ('D', '', '2024-06-15', 'infinity');
    INSERT INTO users SELECT u, '2023-01-01' FROM generate_series(1, 3) AS u;
    INSERT INTO users VALUES (4, '2024-04-01'), (5, '2024-07-01');
    INSERT INTO rollout (segment_id, percent, salt, points, valid_from, valid_to) VALUES
        (2, 100, 'B', rollout_points(100), '2024-03-10', '2024-04-05 12:00'),
        (4, 100, 'D', rollout_points(100), '2024-06-15', 'infinity');
    INSERT INTO membership (user_id, segment_id, included, valid_from, valid_to, removed) VALUES
        (1, 1, TRUE, '2024-02-01', '2024-02-29 23:59:59.999999', FALSE),
        (1, 1, TRUE, '2024-03-01', '2024-05-01', FALSE),
        (2, 1, TRUE, '2024-01-31 23:59:59.999999', '2024-02-29', TRUE),
        (3, 1, TRUE, '2024-01-01', '2024-03-01', FALSE),
        (3, 1, TRUE, '2024-03-01', '2024-06-01', FALSE),
        (2, 2, FALSE, '2024-03-15', 'infinity', FALSE),
        (1, 2, TRUE, '2024-04-01', '2024-04-07', FALSE),
        (3, 3, TRUE, '2024-02-05', 'infinity', FALSE);
"""

REPORTS_OF_THE_PAST = {
    "2023-12": "",
    "2024-01": """\
2;A;add;2024-01-31T23:59:59.999999Z
3;A;add;2024-01-01T00:00:00.000000Z
""",
    "2024-02": """\
1;A;add;2024-02-01T00:00:00.000000Z
1;A;remove;2024-02-29T23:59:59.999999Z
2;A;remove;2024-02-29T00:00:00.000000Z
3;C;add;2024-02-05T00:00:00.000000Z
""",
    "2024-03": """\
1;A;add;2024-03-01T00:00:00.000000Z
1;B;add;2024-03-10T00:00:00.000000Z
2;B;add;2024-03-10T00:00:00.000000Z
2;B;remove;2024-03-15T00:00:00.000000Z
3;B;add;2024-03-10T00:00:00.000000Z
3;C;remove;2024-03-20T00:00:00.000000Z
""",
    "2024-04": """\
1;B;remove;2024-04-07T00:00:00.000000Z
3;B;remove;2024-04-05T12:00:00.000000Z
4;B;add;2024-04-01T00:00:00.000000Z
4;B;remove;2024-04-05T12:00:00.000000Z
""",
    "2024-05": """\
1;A;remove;2024-05-01T00:00:00.000000Z
""",
    "2024-06": """\
1;D;add;2024-06-15T00:00:00.000000Z
2;D;add;2024-06-15T00:00:00.000000Z
3;A;remove;2024-06-01T00:00:00.000000Z
3;D;add;2024-06-15T00:00:00.000000Z
4;D;add;2024-06-15T00:00:00.000000Z
""",
    "2024-07": """\
5;D;add;2024-07-01T00:00:00.000000Z
""",
    "2024-08": "",
}


@pytest.fixture
async def past(conn: Connection) -> None:
    await conn.execute(f"SET timezone = 'UTC'; {PAST}")


async def new_link(client: Client, period: str, **user: int) -> str:
    response = await client.post(PATH, json={"period": period, **user})
    assert response.status == 201, await response.text()
    answer = await response.json()
    assert response.headers["Location"] == answer["url"]
    return str(answer["url"])


async def download(client: Client, period: str, **user: int) -> str:
    url = URL(await new_link(client, period, **user))
    response = await client.get(url.relative())
    assert response.status == 200, await response.text()
    return await response.text()


@pytest.mark.usefixtures("past")
async def test_reports_of_the_past(client: Client) -> None:
    """By hand, by TTL, by percentage, by its change, by deletion, to the microsecond of a month."""
    for period, expected in REPORTS_OF_THE_PAST.items():
        assert await download(client, period) == expected, period


@pytest.mark.usefixtures("past")
async def test_report_of_one_user(client: Client) -> None:
    """The report of a user is what the report of all says of that user."""
    for period, expected in REPORTS_OF_THE_PAST.items():
        for user_id in (1, 2, 3, 4, 5, 6):
            lines = [line for line in expected.splitlines(True) if line[0] == str(user_id)]
            assert await download(client, period, user_id=user_id) == "".join(lines)


@pytest.mark.usefixtures("past")
async def test_a_month_that_is_over_stays_as_it_is(client: Client) -> None:
    """Nothing that happens later changes the report of a month that is over."""
    before = {period: await download(client, period) for period in REPORTS_OF_THE_PAST}
    for slug in ("A", "B"):
        for user_id in range(1, 6):
            await change(client, user_id, remove=[slug])
            await change(client, user_id, add=[slug], ttl=60)
        for percent in (100, 50, None, 100):
            await client.patch(f"/api/v1/segments/{slug}", json={"percent": percent})
        await client.delete(f"/api/v1/segments/{slug}")
        await create(client, slug, 100)
    assert {period: await download(client, period) for period in REPORTS_OF_THE_PAST} == before


async def test_current_month_goes_up_to_now(client: Client) -> None:
    """The report of the current month has what happened, and not the ends to come."""
    await create(client, "A")
    await change(client, 1, add=["A"], ttl=60)
    period = datetime.now(UTC).strftime("%Y-%m")
    lines = (await download(client, period)).splitlines()
    assert [line.rpartition(";")[0] for line in lines] == ["1;A;add"]


async def test_link(client: Client) -> None:
    """The link is absolute, opens as a download with a sensible name, and expires in a day."""
    response = await client.post(PATH, json={"period": "2024-02", "user_id": 1000})
    answer = await response.json()
    assert answer["url"].startswith(str(client.make_url(PATH)))
    expires = datetime.fromisoformat(answer["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23) < expires <= timedelta(days=1)
    for method in ("GET", "HEAD"):
        response = await client.request(method, URL(answer["url"]).relative())
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        name = 'attachment; filename="segsvc-2024-02-user-1000.csv"'
        assert response.headers["Content-Disposition"] == name
        assert await response.text() == ""


async def test_public_address(aiohttp_client: AiohttpClient, dsn: str) -> None:
    """Behind a proxy the link begins with the address that the operator set."""
    app = create_app(
        dsn, secret=SECRET, anonymous=True, public_url="https://segments.example.com/x"
    )
    url = await new_link(await aiohttp_client(app), "2024-02")
    assert url.startswith("https://segments.example.com/x/api/v1/reports/2024-02.csv?")


@pytest.mark.usefixtures("past")
async def test_gzip(client: Client) -> None:
    """The CSV is compressed for those who accept it, and only for them."""
    url = URL(await new_link(client, "2024-03")).relative()
    for offer, coding in (
        ("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("identity", None),
    ):  # fmt: skip
        response = await client.get(url, headers={"Accept-Encoding": offer})
        assert response.headers.get("Content-Encoding") == coding
        assert await response.text() == REPORTS_OF_THE_PAST["2024-03"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("segments.example.com", 201), ("localhost:8080", 201), ("[::1]:8080", 201),
        ("127.0.0.1", 201), ("", 400), ("a/b?c", 400), ("u:p@evil", 400), ("a:b", 400),
        ("a b", 400), ("[::g]", 400), ("a\udcff", 400), ('a"', 400), ("a:123456", 400),
    ],
)  # fmt: skip
async def test_host(client: Client, host: str, status: int) -> None:
    """A link begins with the host of the request, if that is one."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    body = b'{"period": "2026-01"}'
    writer.write(
        f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode(errors="surrogateescape")
        + body
    )
    answer = (await asyncio.wait_for(reader.readuntil(b"}"), TIMEOUT)).decode()
    writer.close()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert (f'"url": "http://{host}/' in answer) == (status == 201)


async def test_links_that_are_not_ours(client: Client) -> None:
    """A link altered in any part, unsigned, or signed with another secret is refused."""
    url = await new_link(client, "2024-02", user_id=1000)
    forged = links.sign(
        links.Report(Month(2024, 2), None), datetime.now(UTC) + timedelta(days=1), "another secret"
    )
    altered = [
        url.replace("2024-02", "2024-03"),
        url.replace("user_id=1000", "user_id=1001"),
        url.replace("user_id=1000&", ""),
        re.sub(r"expires=\d", "expires=9", url),
        url + "0",
        url[:-1],
        url + "&user_id=1001",
        url.replace("&signature=", "&user_id=1&signature="),
        url.partition("?")[0],
        url.partition("&signature")[0],
        url.partition("&signature")[0] + "&signature=%C3%A9",
        url.replace("2024-02", "%00"),
        f"{client.make_url(PATH)}/{forged}",
    ]
    for wrong in altered:
        response = await client.get(URL(wrong, encoded=True).relative())
        assert response.status == 403, wrong
        assert (await response.json())["type"] == "urn:segsvc:problem:link-refused"


async def test_expired_link(client: Client) -> None:
    """A link that has expired is refused, and says so."""
    past = links.sign(links.Report(Month(2024, 2), None), datetime.now(UTC), SECRET)
    response = await client.get(f"{PATH}/{past}")
    assert response.status == 403
    assert "expired" in (await response.json())["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/period"),
        *(
            ({"period": period}, "#/period")
            for period in (
                "2024-13", "2024-00", "2024-1", "202402", "24-02", "9999-12", "", None, 202402,
                "2024-02-01", "٢٠٢٤-٠٢", "1969-12",
            )
        ),
        ({"period": "2024-02", "user_id": 0}, "#/user_id"),
        ({"period": "2024-02", "user_id": "01"}, "#/user_id"),
        ({"period": "2024-02", "user": 1}, "#/user"),
    ],
)  # fmt: skip
async def test_wrong_requests(client: Client, body: dict[str, Any], pointer: str) -> None:
    """An invalid period, or one in the future, is refused with its pointer."""
    response = await client.post(PATH, json=body)
    assert response.status == 422
    assert [error["pointer"] for error in (await response.json())["errors"]] == [pointer]


CROWDED = """
    INSERT INTO segment (slug, description, created_at) VALUES ('A', '', '2024-01-01');
    INSERT INTO users SELECT u, '2024-01-01' FROM generate_series(1, 1000000) AS u;
    INSERT INTO rollout (segment_id, percent, salt, points, valid_from)
    VALUES (1, 100, 'A', rollout_points(100), '2024-02-01');
"""


@pytest.mark.slow
async def test_slots_are_few_and_come_back(client: Client, conn: Connection) -> None:
    """Beside reports that nobody takes, reads go on and others are told to wait; then they may."""
    await conn.execute(CROWDED)
    url = URL(await new_link(client, "2024-02")).relative()
    # At once: one after the other, the first would be cut off while the second is computed.
    stalled = await asyncio.gather(
        *(client.get(url, headers=PLAIN) for _ in range(DEFAULT_LIMITS.exports))
    )
    refused = await client.get(url)
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert (await refused.json())["type"] == "urn:segsvc:problem:busy"
    assert (await client.get("/api/v1/users/1/segments")).status == 200
    for response in stalled:
        response.close()  # the clients vanish
    assert client.app
    slots = client.app[EXPORTS].slots
    async with asyncio.timeout(20), slots:
        pass
    response = await client.get(url)
    assert (await response.text()).count("\n") == 1_000_000


@pytest.mark.slow
async def test_stalled_client_is_cut_off(
    aiohttp_client: AiohttpClient, dsn: str, conn: Connection
) -> None:
    """A client that takes nothing for too long loses its connection, and frees the report's."""
    app = create_app(dsn, secret=SECRET, anonymous=True, limits=Limits(stall_seconds=1))
    client = await aiohttp_client(app)
    await conn.execute(CROWDED)
    url = URL(await new_link(client, "2024-02")).relative()
    response = await client.get(url, headers=PLAIN)
    assert client.app
    slots = client.app[EXPORTS].slots
    async with asyncio.timeout(20):
        for _ in range(DEFAULT_LIMITS.exports):
            await slots.acquire()
    with pytest.raises(ClientPayloadError):
        await response.text()


@pytest.mark.slow
async def test_broken_transfer_is_seen(client: Client, conn: Connection) -> None:
    """When PostgreSQL fails in the middle, the client sees a broken transfer and no end."""
    await conn.execute(CROWDED)
    url = URL(await new_link(client, "2024-02")).relative()
    response = await client.get(url, headers=PLAIN)
    await conn.execute("""
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'COPY%'
    """)
    with pytest.raises(ClientPayloadError):
        await response.text()


async def test_forged_links_take_no_slot(client: Client, conn: Connection) -> None:
    """A link that was not signed is refused from memory, while all slots are taken."""
    url = URL(await new_link(client, "2024-02")).relative()
    async with conn.transaction():
        await conn.execute("LOCK TABLE membership")
        waiting = [asyncio.create_task(client.get(url)) for _ in range(DEFAULT_LIMITS.exports)]
        app: Application = client.app
        async with asyncio.timeout(TIMEOUT):
            while not app[EXPORTS].slots.locked():
                await client.get("/healthz")
        forged = url.update_query(signature="0" * 64)
        for _ in range(20):
            assert (await client.get(forged)).status == 403
    assert [(await task).status for task in waiting] == [200] * DEFAULT_LIMITS.exports


@pytest.mark.slow
async def test_client_that_left_frees_its_slot(dsn: str, conn: Connection) -> None:
    """A report whose client hung up before the first byte is ended within a moment."""
    waiting = """
        SELECT count(*) {} 0 FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
    """
    with serving(database_url=dsn, max_exports="1", workers="1") as (url, _):
        async with ClientSession(url) as hasty:
            made = await hasty.post(PATH, json={"period": "2024-02"})
            link = URL((await made.json())["url"]).relative()
            async with session(dsn) as locker, locker.transaction():
                await locker.execute("LOCK TABLE membership")
                for _ in range(3):
                    leaving = asyncio.create_task(hasty.get(link))
                    await lock_waits.state(conn, waiting.format(">"))
                    leaving.cancel()
                    await asyncio.wait([leaving])
                    began = asyncio.get_running_loop().time()
                    await lock_waits.state(conn, waiting.format("="))
                    assert asyncio.get_running_loop().time() - began < 4
            async with hasty.get(link) as response:
                assert response.status == 200
                await response.read()


async def test_failure_before_the_first_line_has_an_answer(
    client: Client, conn: Connection
) -> None:
    """What fails before anything was sent is answered as a problem."""
    url = URL(await new_link(client, "2024-02")).relative()
    await conn.execute("ALTER VIEW elsewhere RENAME TO gone")
    response = await client.get(url)
    assert response.status == 503
    problem = await response.json()
    assert problem["type"] == "urn:segsvc:problem:wrong-setup"
    assert 'relation "elsewhere"' in problem["detail"]
    await conn.execute("ALTER VIEW gone RENAME TO elsewhere")
    assert (await client.get(url)).status == 200


async def test_first_report_waits_for_writes_under_way(
    dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just after a month's end its report waits for writes that may have started before."""
    async with session(dsn) as reader:
        async with conn.transaction():
            await conn.execute("INSERT INTO users VALUES (1, now())")
            end = await clock.now(conn)
            monkeypatch.setattr(Month, "end", end)

            async def discard(piece: bytes) -> None:
                del piece

            report = links.Report(Month(2024, 2), None)
            waiting = asyncio.create_task(store.copy(reader, report, discard))
            async with session(dsn) as hasty:
                for elsewhen in (timedelta(hours=-1), timedelta(hours=1)):
                    await store.settle(hasty, end + elsewhen)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(store.settle(hasty, end), 0.5)
            assert not waiting.done()
        await asyncio.wait_for(waiting, 20)


@pytest.fixture
async def slow_inserts(conn: Connection) -> AsyncIterator[None]:
    """Hold each insert of a user before it is made: the clock was read, there is no row yet."""
    await conn.execute("""
        CREATE FUNCTION wait_in_the_middle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$;
        CREATE TRIGGER wait BEFORE INSERT ON users
        FOR EACH ROW EXECUTE FUNCTION wait_in_the_middle();
        SELECT pg_advisory_lock(1);
    """)
    yield
    await conn.execute("DROP FUNCTION wait_in_the_middle CASCADE; SELECT pg_advisory_unlock_all()")


@pytest.mark.usefixtures("slow_inserts")
@pytest.mark.parametrize("role", ["postgres", "segsvc_reader"])
async def test_writer_between_clock_and_insert(
    dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    """A write that has read the clock, and nothing else, is waited for, by every role."""
    if role != "postgres":
        await conn.execute(f"CREATE ROLE {role} LOGIN")
    try:
        async with session(dsn) as writer, session(of_role(dsn, role)) as reader:
            registering = asyncio.create_task(users.register(writer, {7}))
            await lock_waits.state(conn)
            end = await clock.now(conn)
            monkeypatch.setattr(users, "REGISTER_TIMEOUT", TIMEOUT)
            monkeypatch.setattr(store, "SETTLE_TIMEOUT", 0.1)
            with pytest.raises(store.Incomplete, match="1 transactions"):
                await store.settle(reader, end)
            monkeypatch.setattr(store, "SETTLE_TIMEOUT", TIMEOUT)
            waiting = asyncio.create_task(store.settle(reader, end))
            await conn.execute("SELECT pg_advisory_unlock(1)")
            await waiting
            await registering
            known = await conn.fetchval("SELECT first_seen_at FROM users WHERE id = 7")
            assert known < end
    finally:
        if role != "postgres":
            await conn.execute(f"DROP ROLE {role}")


def test_months() -> None:
    """Months begin and end where the calendar says, the last one at the end of time."""
    assert Month.parse("2024-02").start == datetime(2024, 2, 1, tzinfo=UTC)
    assert Month.parse("2024-02").end == datetime(2024, 3, 1, tzinfo=UTC)
    assert Month.parse("2023-12").end == datetime(2024, 1, 1, tzinfo=UTC)
    assert Month.parse("9999-12").end == datetime.max.replace(tzinfo=UTC)
    assert str(Month(987, 3)) == "0987-03"
