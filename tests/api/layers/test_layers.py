"""`/layers`: segments that keep users apart."""

import asyncio
import hashlib
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import combinations, pairwise
from math import sqrt
from typing import Any
from urllib.parse import urlencode

from yarl import URL

from segsvc.api.reports import store as reports
from segsvc.api.segments import points
from segsvc.api.users import store
from segsvc.db.pool import Connection
from segsvc.http import BASE
from segsvc.maintenance import check
from tests.api_calls import (
    attempt,
    call,
    change,
    create,
    delete,
    explain,
    history,
    members,
    read,
    read_many,
    set_percent,
)
from tests.clock import pass_time
from tests.conftest import Client

USERS = range(1, 1001)
CSV = {"Content-Type": "text/csv"}
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
OFREP = "/ofrep/v1/evaluate/flags"


async def form(client: Client, slug: str, *segments: str, redeal: bool = False) -> Any:
    body = {"slug": slug, "segments": segments, "redeal": redeal}
    return await call(client, "POST", "/layers", 201, json=body)


async def rebalance(client: Client, layer: str, **percents: float | None) -> Any:
    return await call(client, "PATCH", f"/layers/{layer}", json={"percents": percents})


async def users_of(client: Client, *slugs: str) -> list[set[int]]:
    """Return who of a thousand users is in each of some segments."""
    found = await read_many(client, USERS)
    return [{user for user, inside in found.items() if slug in inside} for slug in slugs]


async def problem(
    client: Client, method: str, path: str, status: int, **sent: Any
) -> tuple[str, list[dict[str, str]]]:
    """Send a request that is refused; return the kind of problem, and its errors."""
    answer = await call(client, method, path, status, **sent)
    return answer["type"].removeprefix("urn:segsvc:problem:"), answer.get("errors", [])


async def faults(conn: Connection) -> list[str]:
    found = await check.structure(conn)
    async for _, wrong in check.replay(conn):
        found += wrong
    return found


async def test_form_over_percentages(client: Client, conn: Connection) -> None:
    """The users of the first segment stay; the others are dealt anew, if that is allowed."""
    await create(client, "M")
    await create(client, "A", 30)
    await create(client, "B", 20)
    first, second = await users_of(client, "A", "B")
    assert first & second
    body = {"slug": "L", "segments": ["M", "A", "B"]}
    kind, errors = await problem(client, "POST", "/layers", 409, json=body)
    assert (kind, [error["pointer"] for error in errors]) == ("redeal-needed", ["#/segments/2"])
    assert await call(client, "GET", "/layers") == {"layers": [], "next": None}
    assert await users_of(client, "A", "B") == [first, second]
    layer = await form(client, "L", "M", "A", "B", redeal=True)
    assert (layer["salt"], layer["free"]) == ("A", 50)
    assert [share["percent"] for share in layer["segments"]] == [30, 20, None]
    assert (await call(client, "GET", "/segments/B"))["layer"] == "L"
    after, dealt = await users_of(client, "A", "B")
    assert (after, after & dealt) == (first, set())
    detail = f"of the known users, {len(dealt - second)} would enter B and {len(second - dealt)}"
    assert detail in errors[0]["detail"]
    expected = {
        user
        for user in USERS
        for share in layer["segments"]
        for part in share["ranges"]
        if share["slug"] == "B" and part["from"] <= point("A", user) < part["to"]
    }
    assert dealt == expected
    assert await faults(conn) == []


def point(salt: str, user_id: int) -> int:
    digest = hashlib.sha256(f"{salt}:{user_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


async def test_form_over_lists(client: Client, conn: Connection) -> None:
    """Of two segments by hand, the later one holds; history before the layer stays what it was."""
    for slug in "AB":
        await create(client, slug)
    await change(client, 1, add=["B"])
    await change(client, 1, add=["A"])
    await change(client, 2, add=["A", "B"])
    before = await call(client, "GET", "/users/1/history")
    await form(client, "L", "A", "B")
    # Two that began at once: the segment that was created later.
    assert (await read(client, 1), await read(client, 2)) == (["A"], ["B"])
    reasons = await explain(client, 1)
    assert {slug: (why["state"], why["by"]) for slug, why in reasons.items()} == {
        "A": ("included", None),
        "B": ("suspended", "A"),
    }
    after = await call(client, "GET", "/users/1/history")
    assert after["events"][:-1] == before["events"]
    assert await history(client, 2) == [
        ("A", "add", "added"),
        ("B", "add", "added"),
        ("A", "remove", "layer"),
    ]
    assert [(await call(client, "GET", f"/segments/{s}"))["members"] for s in "AB"] == [1, 1]
    assert [[m["user_id"] for m in await members(client, s)] for s in "AB"] == [[1], [2]]
    for flag, value in (("A", True), ("B", False)):
        body = {"context": {"targetingKey": "1"}}
        response = await client.post(f"{OFREP}/{flag}", json=body)
        assert (await response.json())["value"] is value
    await call_delete(client, "L")
    assert await read(client, 1) == ["A", "B"]
    assert (await history(client, 1))[-1] == ("B", "add", "layer")
    assert await faults(conn) == []


async def call_delete(client: Client, layer: str, *, redeal: bool = False) -> None:
    path = f"{BASE}/layers/{layer}{'?redeal=true' if redeal else ''}"
    assert (await client.delete(path)).status == 204


async def test_growth_and_shrinkage(client: Client, conn: Connection) -> None:
    """Growth removes nobody, shrinkage adds nobody, growing back takes the same users."""
    for slug, percent in (("A", 10), ("B", 0), ("C", None)):
        await create(client, slug, percent)
    await form(client, "L", "A", "B", "C")
    await set_percent(client, "B", 20)
    small, other = await users_of(client, "A", "B")
    await set_percent(client, "A", 40)
    grown, untouched = await users_of(client, "A", "B")
    assert small < grown
    assert untouched == other
    await set_percent(client, "A", 15)
    shrunk, untouched = await users_of(client, "A", "B")
    assert small < shrunk < grown
    assert untouched == other
    await set_percent(client, "A", 40)
    assert await users_of(client, "A", "B") == [grown, other]
    assert await problem(client, "PATCH", "/segments/C", 409, json={"percent": 40.01}) == (
        "not-enough-free",
        [],
    )
    await set_percent(client, "C", 40)
    layer = await call(client, "GET", "/layers/L")
    assert layer["free"] == 0
    assert set().union(*await users_of(client, "A", "B", "C")) == set(USERS)
    # One grows by what the other gives back at the same instant.
    await rebalance(client, "L", A=80, C=0)
    assert [len(part) for part in await users_of(client, "B", "C")] == [len(other), 0]
    assert await faults(conn) == []


async def test_exact_shares(conn: Connection, client: Client) -> None:
    """Shares of a million ids are within four sigma, and two layers are independent."""
    for slug, percent in (("A", 12.5), ("B", 30), ("C", 7), ("D", 50)):
        await create(client, slug, percent)
    await form(client, "L", "A", "B", redeal=True)
    await form(client, "M", "C", "D", redeal=True)
    rows = await conn.fetch("""
        SELECT slugs, count(*) FROM (
            SELECT array_agg(s.slug) AS slugs
            FROM generate_series(1, 1000000) AS n
            INNER JOIN rollout AS r
            ON r.valid_to = 'infinity' AND rollout_point(r.salt, n) <@ r.points
            INNER JOIN segment AS s ON s.id = r.segment_id
            GROUP BY n
        ) AS held GROUP BY slugs
    """)
    counts = [(set(row["slugs"]), row["count"]) for row in rows]
    shares = {"A": 0.125, "B": 0.3, "C": 0.07, "D": 0.5}
    for slug, share in shares.items():
        found = sum(count for slugs, count in counts if slug in slugs)
        assert abs(found - share * 1e6) < 4 * sqrt(1e6 * share * (1 - share)), slug
    for one, other in combinations(shares, 2):
        both = sum(count for slugs, count in counts if {one, other} <= slugs)
        apart = {one, other} in ({"A", "B"}, {"C", "D"})
        share = 0.0 if apart else shares[one] * shares[other]
        assert abs(both - share * 1e6) <= 4 * sqrt(1e6 * share * (1 - share)), (one, other)


async def test_conflict_is_refused(client: Client, conn: Connection) -> None:
    """An addition beside another segment of the layer names it and its end, and changes nothing."""
    for slug in ("D30", "D50", "OTHER"):
        await create(client, slug)
    await form(client, "L", "D30", "D50")
    await change(client, 1, add=["D30"], expires_at="2098-01-01T00:00:00Z")
    before = await conn.fetch("TABLE membership")
    status, answer = await attempt(client, 1, add=["OTHER", {"slug": "D50", "ttl": 60}])
    assert (status, answer["type"]) == (409, "urn:segsvc:problem:elsewhere-in-layer")
    (error,) = answer["errors"]
    assert error["pointer"] == "#/add/1"
    assert "D30" in error["detail"]
    assert "2098-01-01T00:00:00.000000Z" in error["detail"]
    assert await conn.fetch("TABLE membership") == before
    # Nobody is in the way: before it begins, after it ended, and where it is removed.
    await change(client, 1, add=["D50"], starts_at="2098-01-01T00:00:00Z")
    status, _ = await attempt(client, 1, add=["D50"], starts_at="2097-12-31T23:59:59Z")
    assert status == 409
    await change(client, 1, add=["D50"], remove=["D30"])
    assert await read(client, 1) == ["D50"]
    # What is planned is in the way too.
    await change(client, 2, add=["D50"], starts_at="2098-01-01T00:00:00Z")
    assert (await attempt(client, 2, add=["D30"]))[0] == 409
    await change(client, 2, add=["D30"], expires_at="2098-01-01T00:00:00Z")


async def test_two_of_a_layer(client: Client) -> None:
    """Two segments of one layer in one addition are refused at their places."""
    for slug in "ABC":
        await create(client, slug)
    await form(client, "L", "A", "B")
    status, answer = await attempt(client, 1, add=["A", "C", "B"], on_conflict="suspend")
    assert status == 422
    assert [error["pointer"] for error in answer["errors"]] == ["#/add/0", "#/add/2"]


async def test_suspended_stay_resumes(client: Client, conn: Connection) -> None:
    """Two days of another segment, then back, at the exact instant and without a write."""
    await create(client, "D30")
    await create(client, "D50", 100)
    await form(client, "L", "D30", "D50")
    await change(client, 1, add=["D30"])
    await change(client, 1, add=["D50"], ttl=7200, on_conflict="suspend")
    assert await read(client, 1) == ["D50"]
    why = (await explain(client, 1))["D50"]
    end = datetime.fromisoformat(why["expires_at"])
    for at, expected in ((end - TICK, ["D50"]), (end, ["D30"]), (end + TICK, ["D30"])):
        assert await read(client, 1, at=at.isoformat()) == expected
    # Again: nothing changes. The suspended one: it holds from now on.
    again = await change(
        client, 1, add=["D50"], expires_at=why["expires_at"], on_conflict="suspend"
    )
    assert again["added"] == []
    await pass_time(conn, 3 * HOUR)
    assert await read(client, 1) == ["D30"]
    events = (await call(client, "GET", "/users/1/history"))["events"]
    assert [(e["slug"], e["operation"], e["cause"]) for e in events[-2:]] == [
        ("D30", "add", "layer"),
        ("D50", "remove", "expired"),
    ]
    assert {datetime.fromisoformat(e["at"]) for e in events[-2:]} == {end - 3 * HOUR}
    assert (await explain(client, 1))["D30"]["since"] == events[-1]["at"]
    (member,) = await members(client, "D30")
    assert member["since"] == events[-1]["at"]
    assert await faults(conn) == []


async def test_suspended_one_is_added_again(client: Client) -> None:
    """Who is added to a suspended segment is in it from then on."""
    for slug in "AB":
        await create(client, slug)
    await form(client, "L", "A", "B")
    await change(client, 1, add=["A"])
    await change(client, 1, add=["B"], on_conflict="suspend")
    assert (await change(client, 1, add=["A"], on_conflict="suspend"))["segments"] == ["A"]
    assert (await change(client, 1, add=["A"], on_conflict="suspend"))["added"] == []
    assert (await change(client, 1, add=["B"], on_conflict="move"))["segments"] == ["B"]
    assert await history(client, 1) == [
        ("A", "add", "added"),
        ("A", "remove", "layer"),
        ("B", "add", "added"),
        ("A", "add", "added"),
        ("B", "remove", "layer"),
        ("A", "remove", "moved"),
        ("B", "add", "added"),
    ]
    await change(client, 1, remove=["B"])
    assert await read(client, 1) == []


async def test_move_cancels_plans(client: Client) -> None:
    """A move ends what covers its start and cancels what is planned; a removal holds on."""
    for slug, percent in (("A", 100), ("B", None)):
        await create(client, slug, percent)
    await change(client, 1, remove=["A"])
    await change(client, 1, add=["A"], starts_at="2098-01-01T00:00:00Z")
    await form(client, "L", "A", "B")
    await change(client, 1, add=["B"], expires_at="2099-01-01T00:00:00Z", on_conflict="move")
    for at in ("2098-06-01T00:00:00Z", "2099-06-01T00:00:00Z"):
        expected = ["B"] if at < "2099" else []
        assert await read(client, 1, at=at) == expected
    assert (await call(client, "GET", "/users/1/memberships"))["upcoming"] == []


async def test_move_leaves_what_comes_later(client: Client) -> None:
    """What is planned elsewhere for after the end of an addition is no conflict, and stays."""
    for slug in "AB":
        await create(client, slug)
    await form(client, "L", "A", "B")
    await change(client, 1, add=["A"], starts_at="2098-01-01T00:00:00Z")
    term = {"expires_at": "2098-01-01T00:00:00Z", "on_conflict": "move"}
    await change(client, 1, add=["B"], **term)
    path = f"/segments/B/members/add?{urlencode(term)}"
    await call(client, "POST", path, data="1\n", headers=CSV)
    assert await read(client, 1, at="2098-01-01T00:00:00Z") == ["A"]


async def test_files_move_plans(client: Client) -> None:
    """A file that moves users cancels what is planned, and a removal holds on, as for one user."""
    for slug, percent in (("A", 100), ("B", None)):
        await create(client, slug, percent)
    await change(client, 1, remove=["A"])
    await change(client, 1, add=["A"], starts_at="2098-01-01T00:00:00Z")
    await form(client, "L", "A", "B")
    path = "/segments/B/members/add?on_conflict=move&expires_at=2099-01-01T00:00:00Z"
    await call(client, "POST", path, data="1\n", headers=CSV)
    assert await read(client, 1, at="2098-06-01T00:00:00Z") == ["B"]
    assert await read(client, 1, at="2099-06-01T00:00:00Z") == []


async def test_moved_end_is_moved_again(client: Client, conn: Connection) -> None:
    """A stay that was to end by a move, and is shortened by an addition, has expired."""
    for slug in "AB":
        await create(client, slug)
    await form(client, "L", "A", "B")
    start = (datetime.now(UTC) + 10 * HOUR).isoformat()
    for user in (1, 2):
        await change(client, user, add=["A"])
        await change(client, user, add=["B"], starts_at=start, on_conflict="move")
        assert await read(client, user, at=start) == ["B"]
    await change(client, 1, add=["A"], ttl=3600)
    await call(client, "POST", "/segments/A/members/add?ttl=3600", data="2\n", headers=CSV)
    await pass_time(conn, 2 * HOUR)
    for user in (1, 2):
        assert await history(client, user) == [("A", "add", "added"), ("A", "remove", "expired")]


async def test_excluded_is_not_elsewhere(client: Client) -> None:
    """Who was removed from a segment may be in another one of the layer by percentage."""
    for slug, percent in (("A", None), ("B", 100)):
        await create(client, slug, percent)
    await form(client, "L", "A", "B")
    await change(client, 1, add=["A"])
    assert await read(client, 1) == ["A"]
    await change(client, 1, remove=["A"])
    assert await read(client, 1) == ["B"]
    assert [member["user_id"] for member in await members(client, "B")] == [1]
    await change(client, 1, add=["A"])
    assert await members(client, "B") == []


async def test_alone_before_and_after(client: Client, conn: Connection) -> None:
    """A segment is apart from the others only while it is in the layer itself."""
    for slug in "AB":
        await create(client, slug)
    await change(client, 1, add=["A"])
    await change(client, 1, add=["B"])
    await form(client, "L", "B")
    alone = datetime.now(UTC)
    await call(client, "PATCH", "/layers/L", json={"add": ["A"]})
    assert await read(client, 1) == ["B"]
    await call(client, "PATCH", "/layers/L", json={"remove": ["A"]})
    assert await read(client, 1) == ["A", "B"]
    events = (await call(client, "GET", "/users/1/history"))["events"]
    assert [(e["slug"], e["operation"], e["cause"]) for e in events] == [
        ("A", "add", "added"),
        ("B", "add", "added"),
        ("A", "remove", "layer"),
        ("A", "add", "layer"),
    ]
    assert datetime.fromisoformat(events[2]["at"]) > alone
    why = await explain(client, 1)
    assert (why["A"]["state"], why["A"]["since"]) == ("included", events[-1]["at"])
    assert await faults(conn) == []


async def test_files(client: Client, conn: Connection) -> None:
    """A file in conflict is refused by its lines, or skips, moves or suspends their users."""
    for slug in "AB":
        await create(client, slug)
    await form(client, "L", "A", "B")
    await change(client, 3, add=["B"])
    await change(client, 5, add=["B"], ttl=60)
    file = "user_id\n1\n\n5\n2\n 3\n5\n"
    path = "/segments/A/members/add"
    sent: dict[str, Any] = {"data": file, "headers": CSV}
    kind, errors = await problem(client, "POST", path, 409, **sent)
    assert kind == "elsewhere-in-layer"
    assert [error["pointer"] for error in errors] == ["#row=4", "#row=6", "#row=7"]
    assert "user 3 is by hand in B" in errors[1]["detail"]
    assert await conn.fetchval("SELECT count(*) FROM membership") == 2
    many = "\n\n".join(["3"] * 300)
    _, errors = await problem(client, "POST", path, 409, data=many, headers=CSV)
    assert [error["pointer"] for error in errors] == [f"#row={n}" for n in range(1, 200, 2)]
    counts = {"received": 5, "changed": 2, "unchanged": 0, "skipped": 3}
    assert await call(client, "POST", f"{path}?on_conflict=skip", **sent) == counts
    counts = {"received": 5, "changed": 2, "unchanged": 3}
    assert await call(client, "POST", f"{path}?on_conflict=suspend", **sent) == counts
    assert [await read(client, user) for user in (1, 2, 3, 5)] == [["A"]] * 4
    path = "/segments/B/members/add"
    counts = {"received": 5, "changed": 4, "unchanged": 1}
    assert await call(client, "POST", f"{path}?on_conflict=move", **sent) == counts
    assert [await read(client, user) for user in (1, 2, 3, 5)] == [["B"]] * 4
    assert await conn.fetchval("SELECT count(*) FROM membership WHERE moved") == 4
    assert (await history(client, 5))[-2:] == [("A", "remove", "moved"), ("B", "add", "added")]
    assert await faults(conn) == []


async def test_deletion_frees(client: Client, conn: Connection) -> None:
    """A deleted segment leaves its points and its users to the others."""
    for slug, percent in (("A", 60), ("B", 40)):
        await create(client, slug, percent)
    await form(client, "L", "A", "B", redeal=True)
    await change(client, 1, add=["B"])
    await change(client, 1, add=["A"], on_conflict="suspend")
    assert await read(client, 1) == ["A"]
    await delete(client, "A")
    assert await read(client, 1) == ["B"]
    assert (await history(client, 1))[-1] == ("B", "add", "layer")
    await set_percent(client, "B", 100)
    await create(client, "A")
    assert (await call(client, "GET", "/segments/A"))["layer"] is None
    layer = await call(client, "PATCH", "/layers/L", json={"add": ["A"]})
    assert [share["slug"] for share in layer["segments"]] == ["A", "B"]
    assert await faults(conn) == []


async def test_points_after_an_end(client: Client, conn: Connection) -> None:
    """Points are free from the planned end of a segment on; then the end is not lifted."""
    for slug, percent in (("A", 60), ("B", 40)):
        await create(client, slug, percent)
    await form(client, "L", "A", "B", redeal=True)
    await call(client, "PATCH", "/segments/A", json={"ends_at": "2098-01-01T00:00:00Z"})
    steps = {"steps": [{"at": "2097-12-31T00:00:00Z", "percent": 100}]}
    kind, _ = await problem(client, "PUT", "/segments/B/plan", 409, json=steps)
    assert kind == "not-enough-free"
    steps = {"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 100}]}
    await call(client, "PUT", "/segments/B/plan", json=steps)
    kind, _ = await problem(client, "PATCH", "/segments/A", 409, json={"ends_at": None})
    assert kind == "not-enough-free"
    late = {"ends_at": "2098-01-02T00:00:00Z"}
    assert (await problem(client, "PATCH", "/segments/A", 409, json=late))[0] == "not-enough-free"
    await call(client, "PATCH", "/segments/A", json={"ends_at": "2097-01-01T00:00:00Z"})
    assert (await call(client, "GET", "/layers/L?at=2098-06-01T00:00:00Z")) | {
        "created_at": None
    } == {
        "slug": "L",
        "salt": "A",
        "created_at": None,
        "segments": [{"slug": "B", "percent": 100, "ranges": [{"from": 0, "to": points.SPACE}]}],
        "free": 0,
        "preview": True,
    }
    assert await faults(conn) == []


async def test_plan_of_a_neighbour(client: Client) -> None:
    """What is planned for others is not taken; who plans to shrink cannot cancel it unasked."""
    for slug, percent in (("A", 50), ("B", 0)):
        await create(client, slug, percent)
    await form(client, "L", "A", "B")
    plan = {"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 10}]}
    await call(client, "PUT", "/segments/A/plan", json=plan)
    plan = {"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 90}]}
    await call(client, "PUT", "/segments/B/plan", json=plan)
    kind, _ = await problem(client, "DELETE", "/segments/A/plan", 409)
    assert kind == "not-enough-free"
    answer = await call(client, "PATCH", "/segments/A", 409, json={"percent": 60, "plan": "cancel"})
    assert "A can have 10 % at most from" in answer["detail"]
    await call(client, "PATCH", "/segments/A", json={"percent": 100, "plan": "keep"})
    for at, expected in (("2097-12-31T23:59:59.999999Z", 0), ("2098-01-01T00:00:00Z", 900)):
        sent = {"user_ids": list(USERS), "at": at}
        users = (await call(client, "POST", "/users/segments", json=sent))["users"]
        count = sum(user["segments"] == ["B"] for user in users)
        assert abs(count - expected) < 4 * sqrt(1000 * 0.9 * 0.1) * (expected > 0) + 1


async def test_plan_around_a_neighbour(client: Client) -> None:
    """A plan that shrinks and grows again takes other points where a neighbour has its old ones."""
    for slug, percent in (("A", 50), ("B", 0)):
        await create(client, slug, percent)
    await form(client, "L", "A", "B")
    steps: list[dict[str, Any]] = [{"at": "2098-01-01T00:00:00Z", "percent": 10}]
    await call(client, "PUT", "/segments/A/plan", json={"steps": steps})
    plan = {"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 40}]}
    await call(client, "PUT", "/segments/B/plan", json=plan)
    steps.append({"at": "2098-02-01T00:00:00Z", "percent": 30})
    await call(client, "PUT", "/segments/A/plan", json={"steps": steps})
    layer = await call(client, "GET", "/layers/L?at=2098-02-01T00:00:00Z")
    ranges = [[(r["from"], r["to"]) for r in share["ranges"]] for share in layer["segments"]]
    shares = [[round(100 * bound / points.SPACE) for r in part for bound in r] for part in ranges]
    assert shares == [[0, 10, 50, 70], [10, 50]]


async def test_since_when(client: Client, conn: Connection) -> None:
    """Members, explanations and histories agree on who is in since when, after many changes."""
    for slug, percent in (("A", 40), ("B", 40), ("C", None)):
        await create(client, slug, percent)
    users = range(1, 41)
    await read_many(client, users)
    await pass_time(conn, HOUR)
    await set_percent(client, "B", 30)
    await form(client, "L", "A", "B", "C", redeal=True)
    for user in range(1, 41, 4):
        await change(client, user, add=["C"], ttl=3600)
    await pass_time(conn, 2 * HOUR)
    await set_percent(client, "B", 50)
    await call(client, "PATCH", "/layers/L", json={"remove": ["B"], "redeal": True})
    await call(client, "PATCH", "/layers/L", json={"add": ["B"], "redeal": True})
    for user in range(2, 41, 4):
        await change(client, user, add=["C"])
    listed = {
        (member["user_id"], slug): member["since"]
        for slug in "ABC"
        for member in await members(client, slug)
    }
    explained: dict[tuple[int, str], str] = {}
    told: dict[tuple[int, str], str] = {}
    for user in users:
        for slug, why in (await explain(client, user)).items():
            if why["state"] == "included":
                explained[user, slug] = why["since"]
        last = {}
        for event in (await call(client, "GET", f"/users/{user}/history"))["events"]:
            last[event["slug"]] = event
        told |= {(user, s): e["at"] for s, e in last.items() if e["operation"] == "add"}
    assert listed == explained == told
    assert {slug for _, slug in told} == {"A", "B", "C"}


async def test_months(client: Client, conn: Connection) -> None:
    """The report of each month has the events of all histories, also where only others changed."""
    for slug, percent in (("A", None), ("B", 60), ("C", None)):
        await create(client, slug, percent)
    users = range(1, 21)
    await read_many(client, users)
    for user in range(1, 11):
        await change(client, user, add=["A"])
    month = timedelta(days=31)
    await pass_time(conn, month)
    await form(client, "L", "A", "B")
    await pass_time(conn, month)
    await call(client, "PATCH", "/layers/L", json={"add": ["C"]})
    await pass_time(conn, month)
    for user in (1, 2, 15, 16):
        await change(client, user, add=["C"], ttl=60 * 60 * 24 * 31, on_conflict="suspend")
    await pass_time(conn, 2 * month)
    await change(client, 1, add=["C"], on_conflict="suspend")
    await pass_time(conn, month)
    await delete(client, "C")
    await pass_time(conn, month)
    await call_delete(client, "L", redeal=True)
    expected = []
    for user in users:
        events = (await call(client, "GET", f"/users/{user}/history?limit=1000"))["events"]
        expected += [(str(user), e["slug"], e["operation"], e["at"]) for e in events]
    found = []
    for ago in range(9):
        lines: list[bytes] = []

        async def collect(piece: bytes, lines: list[bytes] = lines) -> None:
            lines.extend(piece.splitlines())

        end = datetime.now(UTC) + HOUR - ago * month
        await conn.copy_from_query(
            reports.COPY_MONTH, end - month, end, output=collect, format="csv", delimiter=";"
        )
        found += [tuple(line.decode().split(";")) for line in lines]
    assert sorted(found) == sorted(expected)
    assert await faults(conn) == []


async def test_percentages_beside_a_plan(client: Client) -> None:
    """The percentages of a layer ask what becomes of a plan, as those of a segment do."""
    for slug in "AB":
        await create(client, slug, 10)
    await form(client, "L", "A", "B", redeal=True)
    plan = {"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 50}]}
    await call(client, "PUT", "/segments/A/plan", json=plan)
    body: dict[str, Any] = {"percents": {"A": 20, "B": 20}}
    assert await problem(client, "PATCH", "/layers/L", 409, json=body) == ("plan-pending", [])
    await call(client, "PATCH", "/layers/L", json=body | {"plan": "keep"})
    assert len((await call(client, "GET", "/segments/A/plan"))["steps"]) == 1
    await call(client, "PATCH", "/layers/L", json={"percents": {"A": 30}, "plan": "cancel"})
    assert (await call(client, "GET", "/segments/A/plan"))["steps"] == []


async def test_enter_and_leave(client: Client, conn: Connection) -> None:
    """Segments enter and leave with their percentages and plans, at one instant."""
    for slug, percent in (("A", 40), ("B", 60), ("C", 30)):
        await create(client, slug, percent)
    plan = {"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 10}]}
    await call(client, "PUT", "/segments/C/plan", json=plan)
    await form(client, "L", "A", "B", redeal=True)
    body: dict[str, Any] = {"add": ["C"], "percents": {"B": 30}}
    kind, errors = await problem(client, "PATCH", "/layers/L", 409, json=body)
    assert (kind, [error["pointer"] for error in errors]) == ("redeal-needed", ["#/add/0"])
    layer = await call(client, "PATCH", "/layers/L", json=body | {"redeal": True})
    assert [share["percent"] for share in layer["segments"]] == [40, 30, 30]
    assert (await call(client, "GET", "/segments/C/plan"))["steps"][0]["percent"] == 10
    kind, errors = await problem(client, "PATCH", "/layers/L", 422, json={"remove": ["X"]})
    assert (kind, [error["pointer"] for error in errors]) == ("unknown-segments", ["#/remove/0"])
    await create(client, "D")
    for body in ({"remove": ["D"]}, {"percents": {"D": 1}}):
        kind, _ = await problem(client, "PATCH", "/layers/L", 422, json=body)
        assert kind == "invalid-request"
    # The first one has the points that it has without a layer: nobody enters or leaves.
    layer = await call(client, "PATCH", "/layers/L", json={"remove": ["A"], "add": ["D"]})
    assert [share["slug"] for share in layer["segments"]] == ["B", "C", "D"]
    assert [[m["user_id"] for m in await members(client, "A")]] == [[]]
    kind, errors = await problem(client, "DELETE", "/layers/L", 409)
    assert (kind, len(errors)) == ("redeal-needed", 2)
    await call_delete(client, "L", redeal=True)
    for slug, percent in (("B", 30), ("C", 30)):
        expected = {u for u in USERS if point(slug, u) < points.count_of(Decimal(percent))}
        assert await users_of(client, slug) == [expected]
    assert await problem(client, "GET", "/layers/L", 404) == ("layer-not-found", [])
    assert await faults(conn) == []


async def test_other_layer(client: Client) -> None:
    """A segment is in one layer at most; a slug of a layer is taken while it is live."""
    for slug in "ABC":
        await create(client, slug)
    await form(client, "L", "A")
    await form(client, "M", "B")
    for path, body in (
        ("/layers", {"slug": "N", "segments": ["C", "A"]}),
        ("/layers/M", {"add": ["C", "A"]}),
    ):
        method = "POST" if path == "/layers" else "PATCH"
        kind, errors = await problem(client, method, path, 409, json=body)
        assert (kind, errors[0]["detail"]) == ("in-another-layer", "A is in the layer L")
    body = {"slug": "L", "segments": ["C"]}
    assert await problem(client, "POST", "/layers", 409, json=body) == ("layer-slug-taken", [])
    page = await call(client, "GET", "/layers?limit=1")
    assert ([layer["segments"] for layer in page["layers"]], page["next"]) == ([["A"]], "L")
    page = await call(client, "GET", f"/layers?after={page['next']}")
    assert [layer["slug"] for layer in page["layers"]] == ["M"]
    await call_delete(client, "L")
    await form(client, "L", "C", "A")


async def test_preview_is_what_comes(client: Client, conn: Connection) -> None:
    """The counts of a preview are those of the change, and reads as of a time are what comes."""
    for slug, percent in (("A", 20), ("B", 30)):
        await create(client, slug, percent)
    await form(client, "L", "A", "B", redeal=True)
    await read_many(client, USERS)
    for user in range(1, 60):
        await change(client, user, add=["AB"[user % 2]])
    await change(client, 60, remove=["B"])
    for wanted in (5, 70, None):
        (before,) = await users_of(client, "B")
        asked = "none" if wanted is None else wanted
        counts = await call(client, "GET", f"/segments/B/preview?percent={asked}")
        await set_percent(client, "B", wanted)
        (after,) = await users_of(client, "B")
        assert (counts["enter"], counts["leave"]) == (len(after - before), len(before - after))
    kind, _ = await problem(client, "GET", "/segments/B/preview?percent=80.01", 409)
    assert kind == "not-enough-free"
    start = datetime.now(UTC) + 10 * HOUR
    steps = [{"at": (start + n * HOUR).isoformat(), "percent": 10 * n + 5} for n in range(3)]
    for slug in "AB":
        await call(client, "PUT", f"/segments/{slug}/plan", json={"steps": steps})
    told = {}
    for at in (start + n * HOUR + tick for n in range(3) for tick in (-TICK, 0 * TICK, TICK)):
        sent = {"user_ids": list(USERS), "at": at.isoformat()}
        told[at] = (await call(client, "POST", "/users/segments", json=sent))["users"]
    await pass_time(conn, 20 * HOUR)
    for at, expected in told.items():
        sent = {"user_ids": list(USERS), "at": (at - 20 * HOUR).isoformat()}
        assert (await call(client, "POST", "/users/segments", json=sent))["users"] == expected
    sizes = [sum(bool(user["segments"]) for user in users) for users in told.values()]
    assert [len(set(sizes[n : n + 3])) for n in (0, 3, 6)] == [2, 2, 2]
    assert await faults(conn) == []


async def test_past_is_closed(client: Client, conn: Connection) -> None:
    """The report of a month that is over keeps its bytes when a layer is formed and planned."""
    for slug, percent in (("A", 50), ("B", 50)):
        await create(client, slug, percent)
    await read_many(client, range(1, 50))
    for user in range(1, 20):
        await change(client, user, add=["A", "B"])
    await pass_time(conn, timedelta(days=62))
    month = await conn.fetchval(
        "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM') FROM segment LIMIT 1"
    )

    async def report() -> str:
        link = await call(client, "POST", "/reports", 201, json={"period": month})
        response = await client.get(URL(link["url"]).relative())
        return await response.text()

    before = await report()
    assert before.count("\n") > 50
    moment = await conn.fetchval("SELECT now() - interval '1 day'")
    users = {u: await read(client, u, at=moment.isoformat()) for u in range(1, 50)}
    await form(client, "L", "A", "B", redeal=True)
    plan = {"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 10}]}
    await call(client, "PUT", "/segments/A/plan", json=plan)
    assert await report() == before
    assert {u: await read(client, u, at=moment.isoformat()) for u in range(1, 50)} == users


async def test_clock_steps_back(client: Client, conn: Connection) -> None:
    """Changes after the clock has stepped back still follow each other."""
    for slug, percent in (("A", 20), ("B", 30)):
        await create(client, slug, percent)
    await pass_time(conn, 2 * HOUR)
    await form(client, "L", "A", "B", redeal=True)
    await pass_time(conn, -HOUR)
    await rebalance(client, "L", A=70, B=10)
    await rebalance(client, "L", A=10, B=90)
    await change(client, 1, add=["A"])
    await change(client, 1, add=["B"], on_conflict="move")
    await delete(client, "A")
    await call_delete(client, "L", redeal=True)
    await pass_time(conn, 2 * HOUR)
    assert await faults(conn) == []


async def test_sixteen_clients(client: Client, conn: Connection) -> None:
    """Sixteen clients write, rebalance, form and delete layers; no user is in two at any time."""
    slugs = ["A", "B", "C", "D"]
    for slug in slugs:
        await create(client, slug, 20)
    await form(client, "L", *slugs, redeal=True)
    generator = random.Random(3)
    statuses: Counter[int] = Counter()

    async def write(chooser: random.Random) -> None:
        for _ in range(25):
            slug, other = chooser.sample(slugs, 2)
            user = chooser.randint(1, 6)
            at = (datetime.now(UTC) + chooser.randint(1, 3) * HOUR).isoformat()
            mode = chooser.choice(["refuse", "move", "suspend"])
            method, path, body = chooser.choice(
                [
                    ("POST", f"/users/{user}/segments", {"add": [slug], "on_conflict": mode}),
                    ("POST", f"/users/{user}/segments", {"add": [slug], "starts_at": at}),
                    ("POST", f"/users/{user}/segments", {"remove": [slug]}),
                    ("PATCH", f"/segments/{slug}", {"percent": 40, "plan": "keep"}),
                    ("PUT", f"/segments/{slug}/plan", {"steps": [{"at": at, "percent": 45}]}),
                    ("DELETE", f"/segments/{slug}/plan", None),
                    ("PATCH", "/layers/L", {"percents": {slug: 5, other: 30}, "plan": "keep"}),
                    ("PATCH", "/layers/L", {"remove": [slug], "add": [other], "redeal": True}),
                    ("DELETE", "/layers/L?redeal=true", None),
                    ("POST", "/layers", {"slug": "L", "segments": slugs, "redeal": True}),
                    ("GET", f"/segments/{slug}/preview?percent=30", None),
                ]
            )
            response = await client.request(method, BASE + path, json=body)
            await response.read()
            statuses[response.status] += 1

    await asyncio.gather(*(write(random.Random(generator.random())) for _ in range(16)))
    assert statuses.keys() <= {200, 201, 204, 404, 409, 422}
    assert statuses[200] > 50
    assert await faults(conn) == []
    rows = await conn.fetch(
        "SELECT valid_from AS at FROM membership UNION SELECT valid_from FROM rollout"
    )
    bounds = sorted({row["at"] for row in rows})
    between = [before + (after - before) / 2 for before, after in pairwise(bounds)]
    shared = await conn.fetch(
        "SELECT layer_id, segment_id, valid_from, valid_to FROM layer_segment"
    )
    names = {row["slug"]: row["id"] for row in await conn.fetch("SELECT slug, id FROM segment")}
    for at in [*bounds, *between]:
        layers = {
            row["segment_id"]: row["layer_id"]
            for row in shared
            if row["valid_from"] <= at and (row["valid_to"].tzinfo is None or at < row["valid_to"])
        }
        for row in await conn.fetch(store.LIST_AT, list(range(1, 7)), at):
            held = [layers[names[slug]] for slug in row["segments"] if names[slug] in layers]
            assert len(held) == len(set(held)), (at, row)
