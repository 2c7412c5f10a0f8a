"""`ends_at`: the planned end of a segment."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from segsvc.db.pool import Connection
from segsvc.http import BASE
from segsvc.maintenance import check
from tests import lock_waits
from tests.api_calls import (
    attempt,
    call,
    change,
    create,
    explain,
    history,
    members,
    read,
    set_percent,
)
from tests.clock import pass_time
from tests.conftest import Client

CSV = {"Content-Type": "text/csv"}
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


@pytest.fixture(autouse=True)
async def segment(client: Client) -> None:
    await create(client, "A")


def after(span: timedelta) -> str:
    """Return the time after a span, as the API writes it."""
    return (datetime.now(UTC) + span).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def set_end(client: Client, ends_at: str | None, status: int = 200) -> dict[str, Any]:
    answer: dict[str, Any] = await call(
        client, "PATCH", "/segments/A", status, json={"ends_at": ends_at}
    )
    return answer


async def test_end_comes_by_itself(client: Client, conn: Connection) -> None:
    """At its planned end all users leave a segment, exactly then, and its slug is free."""
    await change(client, 1, add=["A"])
    await set_percent(client, "A", 100)
    await read(client, 2)
    end = after(DAY)
    assert (await set_end(client, end))["ends_at"] == end
    assert [s["ends_at"] for s in (await call(client, "GET", "/segments"))["segments"]] == [end]
    instant = datetime.fromisoformat(end)
    for at, expected in ((instant - TICK, ["A"]), (instant, [])):
        assert await read(client, 1, at=at.isoformat()) == expected
        assert await read(client, 2, at=at.isoformat()) == expected
    assert await read(client, 1) == ["A"]
    await call(client, "POST", "/segments", 409, json={"slug": "A"})

    await pass_time(conn, DAY)
    assert (await read(client, 1), await read(client, 2), await explain(client, 2)) == ([], [], {})
    for user_id, cause in ((1, "added"), (2, "rollout")):
        assert await history(client, user_id) == [
            ("A", "add", cause),
            ("A", "remove", "segment_deleted"),
        ]
    await call(client, "GET", "/segments/A", 404)
    await call(client, "PATCH", "/segments/A", 404, json={"ends_at": None})
    assert (await call(client, "GET", "/segments"))["segments"] == []
    assert (await attempt(client, 1, add=["A"]))[0] == 422
    await create(client, "A")
    assert (await read(client, 1), await read(client, 2)) == ([], [])
    assert await check.structure(conn) == []


async def test_end_is_moved_and_lifted(client: Client, conn: Connection) -> None:
    """An end is moved both ways and lifted, and the percentage ends with the segment."""
    await set_percent(client, "A", 30)
    rows = "SELECT valid_from, valid_to, closed_by FROM rollout"
    before = await conn.fetch(rows)
    for days in (2, 1, 3):
        end = after(days * DAY)
        await set_end(client, end)
        assert await conn.fetchval("SELECT valid_to FROM rollout") == datetime.fromisoformat(end)
        assert (await call(client, "GET", "/segments/A/plan"))["steps"] == []
    await set_percent(client, "A", 40)
    await call(client, "PATCH", "/segments/A", json={"percent": 30})
    assert (await set_end(client, None))["ends_at"] is None
    await conn.execute("DELETE FROM rollout WHERE valid_to < 'infinity'")
    assert [row["valid_to"] for row in await conn.fetch(rows)] == [before[0]["valid_to"]]
    assert await check.structure(conn) == []
    await set_end(client, after(DAY))
    assert (await client.delete(f"{BASE}/segments/A")).status == 204
    assert await check.structure(conn) == []
    await create(client, "A")


async def test_end_and_plan(client: Client, conn: Connection) -> None:
    """No step comes at the end or after it: neither the end nor the plan is taken then."""
    end = after(2 * DAY)
    early, late = ({"at": after(n * DAY), "percent": n} for n in (1, 3))
    await call(client, "PUT", "/segments/A/plan", json={"steps": [early, late]})
    problem = await set_end(client, end, 422)
    assert [error["pointer"] for error in problem["errors"]] == ["#/ends_at"]
    assert late["at"] in problem["errors"][0]["detail"]
    await call(client, "PUT", "/segments/A/plan", json={"steps": [early]})
    await set_end(client, end)
    for step in (late, {"at": end, "percent": 5}):
        body = {"steps": [early, step]}
        problem = await call(client, "PUT", "/segments/A/plan", 422, json=body)
        assert [error["pointer"] for error in problem["errors"]] == ["#/steps/1/at"]
    assert [s["percent"] for s in (await call(client, "GET", "/segments/A/plan"))["steps"]] == [1]
    # What is cancelled leaves the percentage to go on until the end.
    await call(client, "PATCH", "/segments/A", json={"percent": 7, "plan": "keep"})
    assert (await client.delete(f"{BASE}/segments/A/plan")).status == 204
    assert await conn.fetchval("SELECT max(valid_to) FROM rollout") == datetime.fromisoformat(end)
    assert await check.structure(conn) == []
    # A percentage, and the end of what was planned, in one request.
    end = after(DAY / 2)
    both = {"percent": 9, "plan": "cancel", "ends_at": end}
    answer = await call(client, "PATCH", "/segments/A", json=both)
    assert (answer["percent"], answer["ends_at"]) == (9, end)
    assert await check.structure(conn) == []


async def test_wrong_ends(client: Client, conn: Connection) -> None:
    """An end in the past is refused; so is a membership that would start at the end or later."""
    for wrong in (after(-DAY), "tomorrow", 1):
        problem = await set_end(client, wrong, 422)  # type: ignore[arg-type]
        assert [error["pointer"] for error in problem["errors"]] == ["#/ends_at"]
    end = after(DAY)
    await set_end(client, end)
    for body, place in (
        ({"add": ["A"], "starts_at": end}, "#/starts_at"),
        ({"add": [{"slug": "A", "starts_at": after(2 * DAY)}]}, "#/add/0/starts_at"),
    ):
        status, problem = await attempt(client, 1, **body)
        assert (status, [error["pointer"] for error in problem["errors"]]) == (422, [place])
    file: dict[str, Any] = {"data": "1\n", "headers": CSV, "params": {"starts_at": end}}
    problem = await call(client, "POST", "/segments/A/members/add", 422, **file)
    assert [error["pointer"] for error in problem["errors"]] == ["#/starts_at"]
    assert await conn.fetchval("SELECT count(*) FROM membership") == 0
    await change(client, 1, add=["A"], starts_at=after(DAY / 2), expires_at=after(3 * DAY))


async def test_evaluations_and_previews(client: Client, conn: Connection) -> None:
    """An evaluation answers until the end and finds no flag after it, as a preview finds nobody."""
    await set_percent(client, "A", 100)
    await read(client, 1)
    await set_end(client, after(DAY))
    flags = "/ofrep/v1/evaluate/flags"
    body = {"context": {"targetingKey": "1"}}
    assert (await (await client.post(f"{flags}/A", json=body)).json())["value"] is True
    assert [f["key"] for f in (await (await client.post(flags, json=body)).json())["flags"]] == [
        "A"
    ]
    for days, percent, leave in ((0.5, "0", 1), (1.5, "100", 0)):
        query = {"percent": percent, "at": after(days * DAY)}
        preview = await call(client, "GET", "/segments/A/preview", params=query)
        assert (preview["enter"], preview["leave"]) == (0, leave)
    await pass_time(conn, DAY)
    assert (await client.post(f"{flags}/A", json=body)).status == 404
    assert (await (await client.post(flags, json=body)).json())["flags"] == []


@pytest.mark.parametrize("write", ["user", "file", "segment"])
async def test_a_write_that_waits_over_the_end(
    client: Client, conn: Connection, dsn: str, write: str
) -> None:
    """A write that got its locks after the end is refused, and changes nothing."""
    await change(client, 1, add=["A"])
    await set_end(client, after(timedelta(milliseconds=300)))
    before = await conn.fetch("SELECT * FROM membership")
    holder = await asyncpg.connect(dsn)
    async with holder.transaction():
        table = "users" if write == "user" else "segment"
        await holder.execute(f"SELECT FROM {table} FOR UPDATE")
        if write == "user":
            body = {"add": ["A"], "ttl": 5}
            waiting = call(client, "POST", "/users/1/segments", 422, json=body)
        elif write == "segment":
            waiting = call(client, "PATCH", "/segments/A", 404, json={"percent": 5})
        else:
            path = "/segments/A/members/remove"
            waiting = call(client, "POST", path, 404, data="1\n", headers=CSV)
        task = asyncio.create_task(waiting)
        await lock_waits.state(conn)
        await lock_waits.state(conn, "SELECT clock_timestamp() > max(deleted_at) FROM segment")
    await task
    await holder.close()
    assert await conn.fetch("SELECT * FROM membership") == before
    assert await conn.fetchval("SELECT count(*) FROM rollout") == 0


async def test_lives_never_overlap(client: Client, conn: Connection) -> None:
    """However creations, deletions and planned ends race, lives come one after another."""
    segments = f"{BASE}/segments"

    async def churn(number: int) -> None:
        for n in range(20):
            await client.post(segments, json={"slug": "A", "percent": 5})
            body = {"ends_at": after(timedelta(milliseconds=(number + n) % 7))}
            assert (await client.patch(f"{segments}/A", json=body)).status in {200, 404, 422}
            if n % 3 == number % 3:
                assert (await client.delete(f"{segments}/A")).status in {204, 404}

    await asyncio.gather(*(churn(number) for number in range(6)))
    lives = await conn.fetch("SELECT created_at, deleted_at FROM segment ORDER BY created_at")
    assert len(lives) >= 10
    for earlier, later in pairwise(lives):
        assert earlier["deleted_at"] < later["created_at"]
    assert await check.structure(conn) == []


async def test_as_of_a_time(client: Client, conn: Connection) -> None:
    """A segment and its members are read as of any time, and a future time is marked."""
    await change(client, 1, add=["A"])
    await set_percent(client, "A", 100)
    await read(client, 2)
    await pass_time(conn, 2 * DAY)
    await change(client, 1, add=["A"], ttl=86400)
    plan = {"steps": [{"at": after(2 * DAY), "percent": None}]}
    await call(client, "PUT", "/segments/A/plan", json=plan)
    for user_id in (2, 3):
        await change(client, user_id, add=["A"], starts_at=after(2 * DAY))
    await set_end(client, after(4 * DAY))
    for days, percent, by_hand, inside in (
        (-1, 100, 1, [1, 2]),
        (0, 100, 1, [1, 2, 3]),
        (1.5, 100, 0, [1, 2, 3]),
        (3, None, 2, [2, 3]),
    ):
        at = after(days * DAY)
        answer = await call(client, "GET", "/segments/A", params={"at": at})
        assert (answer["percent"], answer["members"]) == (percent, by_hand)
        assert answer.get("preview") == (True if days > 0 else None)
        page = await call(client, "GET", "/segments/A/members", params={"at": at})
        assert [member["user_id"] for member in page["members"]] == inside
        assert page.get("preview") == (True if days > 0 else None)
        headers = {"Accept": "text/csv"}
        path = f"{BASE}/segments/A/members"
        response = await client.get(path, params={"at": at}, headers=headers)
        assert len((await response.text()).splitlines()) == 1 + len(inside)
        for user_id in (1, 2, 3):
            assert (await read(client, user_id, at=at) == ["A"]) == (user_id in inside)
    # What is planned, or was later, is not in the reasons of a time before it.
    (_, second) = await members(client, "A", at=after(-DAY))
    assert (second["user_id"], second["since"]) == (2, (await explain(client, 2))["A"]["since"])
    sources = [member["source"] for member in await members(client, "A", at=after(-DAY))]
    assert sources == ["manual", "rollout"]
    for days in (-3, 5):
        for path in ("/segments/A", "/segments/A/members"):
            await call(client, "GET", path, 404, params={"at": after(days * DAY)})
