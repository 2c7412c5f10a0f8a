"""`/users/{user_id}/segments`: one user's segments, changed and read."""

import asyncio

import pytest

from segsvc.db.pool import Connection
from segsvc.http.app_keys import POOL
from tests.api_calls import attempt, call, change, create, delete, read, set_percent
from tests.conftest import Client

SLUGS = [f"SEG_{n}" for n in range(10)]


@pytest.fixture
async def segments(client: Client) -> list[str]:
    for slug in SLUGS:
        await create(client, slug)
    return SLUGS


@pytest.mark.usefixtures("segments")
async def test_add_and_remove(client: Client) -> None:
    """A request answers what it changed and what the user is in afterwards, sorted."""
    assert await attempt(client, 1000, add=["SEG_3", "SEG_1"]) == (
        200,
        {
            "user_id": 1000,
            "added": ["SEG_1", "SEG_3"],
            "removed": [],
            "segments": ["SEG_1", "SEG_3"],
        },
    )
    assert await attempt(client, 1000, add=["SEG_2", "SEG_3"], remove=["SEG_1", "SEG_9"]) == (
        200,
        {
            "user_id": 1000,
            "added": ["SEG_2"],
            "removed": ["SEG_1"],
            "segments": ["SEG_2", "SEG_3"],
        },
    )
    assert await read(client, 1000) == ["SEG_2", "SEG_3"]
    assert await read(client, 1001) == []


@pytest.mark.usefixtures("segments")
async def test_greatest_user_and_a_thousand_slugs(client: Client) -> None:
    """The greatest id is a user like any other; a slug may be repeated in its list."""
    greatest = 2**63 - 1
    status, answer = await attempt(client, greatest, add=["SEG_1"] * 1000)
    assert (status, answer["added"]) == (200, ["SEG_1"])
    assert await read(client, greatest) == ["SEG_1"]


@pytest.mark.usefixtures("segments")
async def test_ids_as_text(client: Client) -> None:
    """In a body, an id may be a string of decimal digits: exact above 2^53 in every client."""
    large = 2**53 + 1
    await change(client, large, add=["SEG_1"])
    asked = [str(large), large, str(large - 1), "1"]
    answer = await call(client, "POST", "/users/segments", json={"user_ids": asked})
    assert [(user["user_id"], user["segments"]) for user in answer["users"]] == [
        (large, ["SEG_1"]), (large, ["SEG_1"]), (large - 1, []), (1, []),
    ]  # fmt: skip
    wrong = ["", "0", "01", "+1", "1.0", "1e3", " 1", "9223372036854775808", "\u0661", True, 1.0]
    body = {"user_ids": wrong}
    answer = await call(client, "POST", "/users/segments", 422, json=body)
    assert [e["pointer"] for e in answer["errors"]] == [f"#/user_ids/{i}" for i in range(11)]
    detail = "must be an integer from 1 to 9223372036854775807"
    assert {e["detail"] for e in answer["errors"]} == {detail}


@pytest.mark.usefixtures("segments")
async def test_repeating_changes_nothing(client: Client, conn: Connection) -> None:
    """The same request again answers the same segments, and writes no row."""
    for wish in ({"add": SLUGS}, {"remove": SLUGS[:5]}):
        first = (await attempt(client, 1, **wish))[1]
        rows = await conn.fetch("SELECT m.*, m.xmin, m.ctid FROM membership AS m")
        again = (await attempt(client, 1, **wish))[1]
        assert (again["added"], again["removed"]) == ([], [])
        assert again["segments"] == first["segments"]
        assert await conn.fetch("SELECT m.*, m.xmin, m.ctid FROM membership AS m") == rows


@pytest.mark.usefixtures("segments")
async def test_unknown_slug_stores_nothing(client: Client, conn: Connection) -> None:
    """One slug that is not live refuses the whole request, and leaves no trace of it."""
    for add, remove in ((["SEG_1", "NONE", "SEG_2"], []), (["SEG_1"], ["NONE"])):
        assert (await attempt(client, 1, add=add, remove=remove))[0] == 422
    assert await conn.fetchval("SELECT count(*) FROM membership") == 0
    assert await conn.fetchval("SELECT count(*) FROM users") == 0
    assert await read(client, 1) == []


@pytest.mark.usefixtures("segments")
async def test_ten_segments_at_once_to_a_new_user(client: Client) -> None:
    """Ten concurrent requests that each add another segment to one new user are all stored."""
    answers = await asyncio.gather(*(attempt(client, 7, add=[slug]) for slug in SLUGS))
    assert [status for status, _ in answers] == [200] * 10
    assert await read(client, 7) == SLUGS


@pytest.mark.usefixtures("segments")
async def test_one_segment_twenty_times_at_once(client: Client, conn: Connection) -> None:
    """Twenty concurrent requests that add the same segment leave one period, opened by one."""
    answers = await asyncio.gather(*(attempt(client, 7, add=["SEG_1"]) for _ in range(20)))
    assert [status for status, _ in answers] == [200] * 20
    assert sorted(len(answer["added"]) for _, answer in answers) == [0] * 19 + [1]
    assert await conn.fetchval("SELECT count(*) FROM membership") == 1


OVERLAPS = """
    SELECT count(*) FROM membership AS a INNER JOIN membership AS b
    ON
        a.user_id = b.user_id AND a.segment_id = b.segment_id
        AND a.ctid < b.ctid AND a.valid_from < b.valid_to AND b.valid_from < a.valid_to
"""


@pytest.mark.usefixtures("segments")
async def test_periods_never_overlap(client: Client, conn: Connection) -> None:
    """Adds and removals of one user racing each other leave periods that follow one another."""

    async def toggle(n: int) -> None:
        for i in range(30):
            wish = {"add": ["SEG_1"]} if (n + i) % 2 else {"remove": ["SEG_1"]}
            assert (await attempt(client, 7, **wish))[0] == 200

    await asyncio.gather(*(toggle(n) for n in range(6)))
    assert await conn.fetchval("SELECT count(*) FROM membership") > 1
    assert await conn.fetchval(OVERLAPS) == 0


@pytest.mark.usefixtures("segments")
async def test_fifty_refusals_leave_the_pool_whole(client: Client) -> None:
    """Refused writes give their connections back, clean."""
    for _ in range(50):
        assert (await attempt(client, 1, add=["NONE"]))[0] == 422
    assert client.app
    pool = client.app[POOL].connections
    assert pool.get_idle_size() == pool.get_size()
    answers = await asyncio.gather(*(attempt(client, n, add=["SEG_1"]) for n in range(1, 41)))
    assert {status for status, _ in answers} == {200}


@pytest.mark.usefixtures("segments")
async def test_adds_racing_with_a_deletion(client: Client, conn: Connection) -> None:
    """In forty rounds nobody is left in a deleted segment, and no period begins after its end."""
    statuses = []
    for n in range(40):
        await create(client, "RACE")
        adds = [attempt(client, user_id, add=["SEG_1", "RACE"]) for user_id in range(1, 7)]
        running = [asyncio.create_task(add) for add in adds[: n % 7]]
        if running:  # the deletion meets the others at work
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        deletion = asyncio.create_task(delete(client, "RACE"))
        running += [asyncio.create_task(add) for add in adds[n % 7 :]]
        statuses += [status for status, _ in await asyncio.gather(*running)]
        await deletion
        for user_id in range(1, 7):
            assert "RACE" not in await read(client, user_id)
    astray = await conn.fetchval("""
        SELECT count(*) FROM membership AS m INNER JOIN segment AS s ON s.id = m.segment_id
        WHERE m.valid_from >= s.deleted_at OR m.valid_from < s.created_at
    """)
    assert astray == 0
    assert set(statuses) == {200, 422}, "the two sides of the race were not both seen"


@pytest.mark.usefixtures("segments")
async def test_changes_of_a_busy_segment_get_their_turn(client: Client) -> None:
    """While its members come and go without a pause, a segment can be changed and deleted."""
    done = asyncio.Event()

    async def hammer(n: int) -> None:
        while not done.is_set():
            wish = {"add": ["SEG_1"]} if n % 2 else {"remove": ["SEG_1"]}
            status, _ = await attempt(client, 1 + n % 2, **wish)
            assert status in {200, 422}

    hammers = [asyncio.create_task(hammer(n)) for n in range(8)]
    for percent in range(5):
        await set_percent(client, "SEG_1", percent)
    await delete(client, "SEG_1")
    done.set()
    await asyncio.gather(*hammers)


@pytest.mark.usefixtures("segments")
async def test_a_clock_that_stepped_back_makes_no_wrong_row(
    client: Client, conn: Connection
) -> None:
    """A period that begins in the clock's future can still be ended, a microsecond later."""
    await conn.execute("""
        INSERT INTO users VALUES (1, now());
        INSERT INTO membership SELECT 1, s.id, TRUE, '2100-01-01' FROM segment AS s
        WHERE s.slug = 'SEG_1'
    """)
    assert (await attempt(client, 1, remove=["SEG_1"]))[1]["removed"] == ["SEG_1"]
    end = await conn.fetchval("SELECT valid_to::text FROM membership")
    assert end == "2100-01-01 00:00:00.000001+00"


@pytest.mark.usefixtures("segments")
async def test_user_is_known_from_the_first_write(client: Client, conn: Connection) -> None:
    """The first request about a user registers the user, and later ones leave that alone."""
    await attempt(client, 1, remove=["SEG_1"])
    first = await conn.fetchrow("SELECT u.*, u.xmin FROM users AS u")
    await attempt(client, 1, add=["SEG_1"])
    assert await conn.fetchrow("SELECT u.*, u.xmin FROM users AS u") == first
