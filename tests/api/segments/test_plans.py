"""`/segments/{slug}/plan`: the future of a percentage."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from segsvc.db.pool import Connection
from segsvc.maintenance import check
from tests.api_calls import call, change, create, delete, history, read, read_many
from tests.clock import pass_time
from tests.conftest import Client

PLAN = "/segments/A/plan"
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


@pytest.fixture(autouse=True)
async def segment(client: Client) -> None:
    await create(client, "A")


def steps(*percents: float | None, start: timedelta = DAY) -> dict[str, Any]:
    """Return a plan with a step a day."""
    now = datetime.now(UTC).replace(microsecond=0) + start
    ats = [(now + n * DAY).isoformat() for n in range(len(percents))]
    return {"steps": [{"at": a, "percent": p} for a, p in zip(ats, percents, strict=True)]}


async def planned(client: Client) -> list[float | None]:
    return [step["percent"] for step in (await call(client, "GET", PLAN))["steps"]]


async def percent(client: Client) -> float | None:
    found: float | None = (await call(client, "GET", "/segments/A"))["percent"]
    return found


async def test_ramp(client: Client, conn: Connection) -> None:
    """A plan comes into force step by step, with nothing running, also after a step was missed."""
    await read(client, 1)
    await call(client, "PUT", PLAN, json=steps(100, 0, 100, None))
    assert (await percent(client), await read(client, 1), await history(client, 1)) == (
        None,
        [],
        [],
    )
    for days, expected in ((0, []), (1.5, ["A"]), (2.5, []), (3.5, ["A"]), (4.5, [])):
        at = (datetime.now(UTC) + days * DAY).isoformat()
        assert await read(client, 1, at=at) == expected
    await pass_time(conn, 1.5 * DAY)
    assert (await percent(client), await read(client, 1)) == (100, ["A"])
    assert await planned(client) == [0, 100, None]
    await pass_time(conn, 2 * DAY)
    assert (await percent(client), await read(client, 1)) == (100, ["A"])
    await pass_time(conn, DAY)
    assert (await percent(client), await read(client, 1)) == (None, [])
    assert await planned(client) == []
    operations = [(operation, cause) for _, operation, cause in await history(client, 1)]
    assert operations == [("add", "rollout"), ("remove", "rollout")] * 2
    assert await check.structure(conn) == []


async def test_steps_are_exact(client: Client) -> None:
    """A step holds from its instant on, and not a microsecond before."""
    await read(client, 1)
    body = steps(100, 0)
    await call(client, "PUT", PLAN, json=body)
    first, second = (datetime.fromisoformat(step["at"]) for step in body["steps"])
    for at, expected in (
        (first - TICK, []), (first, ["A"]), (first + TICK, ["A"]),
        (second - TICK, ["A"]), (second, []), (second + TICK, []),
    ):  # fmt: skip
        assert await read(client, 1, at=at.isoformat()) == expected


async def test_equal_neighbours_merge(client: Client) -> None:
    """A step that changes nothing is left out, the first one too."""
    await call(client, "PATCH", "/segments/A", json={"percent": 5})
    answer = await call(client, "PUT", PLAN, json=steps(5, 10, 10, None, None, 5))
    assert [step["percent"] for step in answer["steps"]] == [10, None, 5]
    assert await planned(client) == [10, None, 5]
    assert (await call(client, "PUT", PLAN, json=steps(5)))["steps"] == []


async def test_change_beside_a_plan(client: Client, conn: Connection) -> None:
    """A percentage is not changed beside a plan without a word about the plan."""
    await call(client, "PUT", PLAN, json=steps(10, 50))
    problem = await call(client, "PATCH", "/segments/A", 409, json={"percent": 0})
    assert problem["type"] == "urn:segsvc:problem:plan-pending"
    await call(client, "PATCH", "/segments/A", json={"description": "no percentage"})
    await call(client, "PATCH", "/segments/A", json={"percent": 0, "plan": "keep"})
    assert (await percent(client), await planned(client)) == (0, [10, 50])
    await pass_time(conn, 1.5 * DAY)
    assert (await percent(client), await planned(client)) == (10, [50])
    await call(client, "PATCH", "/segments/A", json={"percent": 20, "plan": "cancel"})
    assert (await percent(client), await planned(client)) == (20, [])
    await pass_time(conn, 2 * DAY)
    assert await percent(client) == 20
    await call(client, "PATCH", "/segments/A", json={"percent": 30})
    wrong = {"plan": "keep"}
    problem = await call(client, "PATCH", "/segments/A", 422, json=wrong)
    assert [error["pointer"] for error in problem["errors"]] == ["#/plan"]


async def test_cancel(client: Client, conn: Connection) -> None:
    """A cancelled plan leaves no trace, and the percentage goes on without an end."""
    await call(client, "PATCH", "/segments/A", json={"percent": 5})
    rows = "SELECT percent, valid_from, valid_to, closed_by FROM rollout"
    before = await conn.fetch(rows)
    await call(client, "PUT", PLAN, json=steps(10, None))
    assert (await client.delete(f"/api/v1{PLAN}")).status == 204
    assert (await client.delete(f"/api/v1{PLAN}")).status == 204
    assert await conn.fetch(rows) == before


async def test_etag(client: Client) -> None:
    """Two analysts do not overwrite each other's plan."""
    path = f"/api/v1{PLAN}"
    tag = (await client.get(path)).headers["ETag"]
    first = await client.put(path, json=steps(10), headers={"If-Match": tag})
    assert first.status == 200
    assert first.headers["ETag"] == (await client.get(path)).headers["ETag"] != tag
    for method, body in (("PUT", steps(20)), ("DELETE", None)):
        refused = await client.request(method, path, json=body, headers={"If-Match": tag})
        assert refused.status == 412
        assert (await refused.json())["type"] == "urn:segsvc:problem:plan-changed"
    assert await planned(client) == [10]
    either = f'"x", {first.headers["ETag"]}'
    assert (await client.put(path, json=steps(20), headers={"If-Match": either})).status == 200
    assert (await client.delete(path, headers={"If-Match": "*"})).status == 204


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["#/steps"]),
        ({"steps": []}, ["#/steps"]),
        ({"steps": [{"at": "2098-01-01T00:00:00Z"}]}, ["#/steps/0/percent"]),
        ({"steps": [{"at": "2026-01-01T00:00:00Z", "percent": 1}]}, ["#/steps/0/at"]),
        ({"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 101}]}, ["#/steps/0/percent"]),
        ({"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 1}] * 2}, ["#/steps/1/at"]),
        ({"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 1}] * 101}, ["#/steps"]),
        ({"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 1, "x": 1}]}, ["#/steps/0/x"]),
    ],
)  # fmt: skip
async def test_wrong_plans(
    client: Client, conn: Connection, body: dict[str, Any], pointers: list[str]
) -> None:
    """A plan that is not in the future, in order and complete is refused, and changes nothing."""
    problem = await call(client, "PUT", PLAN, 422, json=body)
    assert [error["pointer"] for error in problem["errors"]] == pointers
    assert await conn.fetchval("SELECT count(*) FROM rollout") == 0


async def test_deleted_segment(client: Client, conn: Connection) -> None:
    """The plan of a segment ends with it."""
    await call(client, "PATCH", "/segments/A", json={"percent": 5})
    await call(client, "PUT", PLAN, json=steps(10, 20))
    await delete(client, "A")
    for method in ("GET", "PUT", "DELETE"):
        body = steps(1) if method == "PUT" else None
        await call(client, method, PLAN, 404, json=body)
    await create(client, "A", 7)
    assert await planned(client) == []
    assert await conn.fetchval("SELECT count(*) FROM rollout") == 2
    assert await check.structure(conn) == []


async def test_concurrent_planners(client: Client, conn: Connection) -> None:
    """With many at the same time, one percentage holds at any instant."""

    async def work(number: int) -> None:
        for n in range(4):
            if (number + n) % 3:
                await call(client, "PUT", PLAN, json=steps(n, number, None, start=(n + 1) * DAY))
            else:
                change = {"percent": number, "plan": "keep" if n % 2 else "cancel"}
                await call(client, "PATCH", "/segments/A", json=change)

    await asyncio.gather(*(work(number) for number in range(16)))
    assert await check.structure(conn) == []
    open_ends = "SELECT count(*) FROM rollout WHERE valid_to = 'infinity'"
    assert await conn.fetchval(open_ends) <= 1


async def test_preview(client: Client, conn: Connection) -> None:
    """A preview counts who would enter and leave, and is what is then read."""
    users = range(1, 401)
    await conn.execute("INSERT INTO users SELECT n, now() FROM generate_series(1, 400) AS n")
    await call(client, "PATCH", "/segments/A", json={"percent": 20})
    for user_id in users[:40]:
        await change(client, user_id, **{"add" if user_id % 2 else "remove": ["A"]})

    async def inside() -> set[int]:
        return {user_id for user_id, slugs in (await read_many(client, users)).items() if slugs}

    before = await inside()
    for percent_then in (60, 20, 0, None):
        query = {"percent": "none" if percent_then is None else str(percent_then)}
        preview = await call(client, "GET", "/segments/A/preview", params=query)
        await call(client, "PATCH", "/segments/A", json={"percent": percent_then})
        after = await inside()
        assert (preview["enter"], preview["leave"]) == (len(after - before), len(before - after))
        await call(client, "PATCH", "/segments/A", json={"percent": 20})
    # Compared with the plan.
    await call(client, "PUT", PLAN, json=steps(60))
    later = {"percent": "60", "at": (datetime.now(UTC) + 2 * DAY).isoformat()}
    preview = await call(client, "GET", "/segments/A/preview", params=later)
    assert (preview["enter"], preview["leave"]) == (0, 0)
    for query in ({"percent": "101"}, {}, {"percent": "1", "at": "2024-01-01T00:00:00Z"}):
        await call(client, "GET", "/segments/A/preview", 422, params=query)
    await call(client, "GET", "/segments/B/preview", 404, params={"percent": "1"})


async def test_future_reads_are_marked(client: Client) -> None:
    """An answer as of a future time says that it is a preview; others do not."""
    await call(client, "PUT", PLAN, json=steps(100))
    later, earlier = (datetime.now(UTC) + n * DAY for n in (2, -2))
    for at, expected in ((later, ["A"]), (earlier, [])):
        marked = {"preview": True} if at is later else {}
        answer = await call(client, "GET", "/users/1/segments", params={"at": at.isoformat()})
        assert answer == {"user_id": 1, "segments": expected} | marked
        body = {"user_ids": [1], "at": at.isoformat()}
        answer = await call(client, "POST", "/users/segments", json=body)
        assert answer == {"users": [{"user_id": 1, "segments": expected}]} | marked
