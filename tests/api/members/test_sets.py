"""Sets of users as the body of an addition, a removal, a replacement and a new segment."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from segsvc.db.pool import Connection
from segsvc.maintenance import check
from tests.api_calls import call, change, create, delete, members, read_many
from tests.conftest import Client
from tests.histories import NAMES, USERS, make, put_in

HOUR = timedelta(hours=1)


async def ids(client: Client, slug: str, **query: Any) -> set[int]:
    return {member["user_id"] for member in await members(client, slug, **query)}


async def put_set(client: Client, slug: str, body: Any, status: int = 200, **query: str) -> Any:
    return await call(client, "PUT", f"/segments/{slug}/members", status, json=body, params=query)


@pytest.mark.parametrize("seed", range(4))
async def test_sets_are_python_sets(client: Client, conn: Connection, seed: int) -> None:
    """A set has the users that the lists of its segments give, at any time, layers included."""
    rng = random.Random(seed)
    await make(client, conn, rng)
    await create(client, "T")
    now: datetime = await conn.fetchval("SELECT clock_timestamp()")
    times = [None, now, *(now - HOUR * rng.uniform(0, 24) for _ in range(4))]
    lists = {
        (slug, at): await ids(client, slug, **({"at": at.isoformat()} if at else {}))
        for at in times
        for slug in NAMES
        if at is None or await is_live(conn, slug, at)
    }
    assert len({frozenset(users) for users in lists.values()}) > 8
    for _ in range(40):
        at = rng.choice(times)
        parts: dict[str, list[Any]] = {}
        sets: dict[str, list[set[int]]] = {"any_of": [], "all_of": [], "none_of": []}
        for part, found in sets.items():
            named = rng.sample([*lists], rng.choice([0, 1, 1, 2]))
            parts[part] = [
                slug if then == at else {"slug": slug, "at": (then or now).isoformat()}
                for slug, then in named
            ]
            found += [lists[slug, then or (None if then == at else now)] for slug, then in named]
        if not sets["any_of"] and not sets["all_of"]:
            continue
        expected = set().union(*sets["any_of"]) if sets["any_of"] else set(USERS)
        expected = expected.intersection(*sets["all_of"]) - set().union(*sets["none_of"])
        body = {"from": parts} | ({"at": at.isoformat()} if at else {})
        before = await ids(client, "T")
        counts = {
            "received": len(expected),
            "unchanged": len(expected & before),
            "added": len(expected - before),
            "removed": len(before - expected),
        }
        dry = await put_set(client, "T", body, dry_run="true", allow_empty="true")
        assert dry == counts | {"dry_run": True}
        assert await ids(client, "T") == before
        assert await put_set(client, "T", body, allow_empty="true") == counts
        assert await ids(client, "T") == expected
    assert await check.structure(conn) == []


async def is_live(conn: Connection, slug: str, at: datetime) -> bool:
    query = "SELECT FROM segment WHERE slug = $1 AND created_at <= $2 AND deleted_at > $2"
    return await conn.fetchrow(query, slug, at) is not None


async def test_copy_and_bring_back(client: Client, conn: Connection) -> None:
    """A new segment begins with the members of others, of a deleted one too, in one step."""
    await create(client, "A", 50)
    await read_many(client, USERS)
    await change(client, 1000, add=["A"])
    then: datetime = await conn.fetchval("SELECT clock_timestamp()")
    old = await ids(client, "A")
    await change(client, 1001, add=["A"])
    await delete(client, "A")
    body = {"slug": "B", "from": {"any_of": ["A"]}, "at": then.isoformat()}
    answer = await call(client, "POST", "/segments", 201, json=body)
    assert (answer["slug"], answer["members"]) == ("B", len(old))
    assert {each["source"] for each in await members(client, "B")} == {"manual"}
    assert await ids(client, "B") == old
    assert len(old) > 100
    body = {"slug": "A", "from": {"any_of": [{"slug": "A", "at": then.isoformat()}]}}
    assert (await call(client, "POST", "/segments", 201, json=body))["members"] == len(old)
    assert await ids(client, "A") == old


async def test_a_copy_that_is_refused_leaves_nothing(client: Client) -> None:
    """The slug is taken, or a segment is unknown: no segment, and no member."""
    await create(client, "A")
    await change(client, 1, add=["A"])
    body: dict[str, Any] = {"slug": "B", "from": {"any_of": ["A", "X"], "none_of": ["A", "Y"]}}
    answer = await call(client, "POST", "/segments", 422, json=body)
    assert [error["pointer"] for error in answer["errors"]] == [
        "#/from/any_of/1",
        "#/from/none_of/1",
    ]
    await call(client, "GET", "/segments/B", 404)
    body = {"slug": "A", "from": {"any_of": ["A"]}}
    assert (await call(client, "POST", "/segments", 409, json=body))["title"]
    assert await ids(client, "A") == {1}


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["#/from"]),
        ({"from": {}}, ["#/from"]),
        ({"from": {"none_of": ["A"]}}, ["#/from"]),
        ({"from": {"any_of": [], "all_of": []}}, ["#/from"]),
        ({"from": {"any_of": "A"}}, ["#/from/any_of"]),
        ({"from": {"any_of": ["A", "1"]}}, ["#/from/any_of/1"]),
        ({"from": {"any_of": [{"slug": "A"}]}}, ["#/from/any_of/0/at"]),
        ({"from": {"any_of": [{"slug": "A", "at": "now"}]}}, ["#/from/any_of/0/at"]),
        ({"from": {"any_of": ["A"] * 101}}, ["#/from/any_of"]),
        ({"from": {"some_of": ["A"], "any_of": ["A"]}}, ["#/from/some_of"]),
        ({"from": {"any_of": ["A"]}, "at": "2098-01-01T00:00:00Z"}, ["#/at"]),
        (
            {"from": {"all_of": [{"slug": "A", "at": "2098-01-01T00:00:00Z"}]}},
            ["#/from/all_of/0/at"],
        ),
        ({"from": {"any_of": ["A"]}, "at": "2000-01-01T00:00:00Z"}, ["#/from/any_of/0"]),
    ],
)
async def test_bad_sets(client: Client, body: Any, pointers: list[str]) -> None:
    """What is wrong in a set is pointed at, and nothing is changed."""
    await create(client, "A")
    await change(client, 1, add=["A"])
    for method, path in (
        ("POST", "/segments/A/members/add"),
        ("POST", "/segments/A/members/remove"),
        ("PUT", "/segments/A/members"),
    ):
        answer = await call(client, method, path, 422, json=body)
        assert [error["pointer"] for error in answer["errors"]] == pointers
    if "from" in body:
        answer = await call(client, "POST", "/segments", 422, json=body | {"slug": "B"})
        assert [error["pointer"] for error in answer["errors"]] == pointers
    assert await ids(client, "A") == {1}


async def test_a_time_without_a_set(client: Client) -> None:
    """A new segment takes a time only with a set."""
    body = {"slug": "B", "at": datetime.now(UTC).isoformat()}
    answer = await call(client, "POST", "/segments", 422, json=body)
    assert answer["errors"] == [{"pointer": "#/at", "detail": "needs from"}]


async def test_conflicts_of_a_set(client: Client) -> None:
    """Users of a set who are elsewhere in the layer are named, or treated as asked."""
    for slug in ("A", "B", "C"):
        await create(client, slug)
    await put_in(client, "C", 1, 2, 3, 4)
    await put_in(client, "B", 2, 4)
    await call(client, "POST", "/layers", 201, json={"slug": "L", "segments": ["A", "B"]})
    body = {"from": {"any_of": ["C"]}}
    path = "/segments/A/members/add"
    for query in ({}, {"dry_run": "true"}):
        answer = await call(client, "POST", path, 409, json=body, params=query)
        assert [error["pointer"] for error in answer["errors"]] == ["#/from", "#/from"]
        assert [error["detail"][:6] for error in answer["errors"]] == ["user 2", "user 4"]
    skip = {"on_conflict": "skip"}
    counts = {"received": 4, "changed": 2, "unchanged": 0, "skipped": 2}
    dry = await call(client, "POST", path, json=body, params=skip | {"dry_run": "true"})
    assert dry == counts | {"dry_run": True}
    assert await ids(client, "A") == set()
    assert await call(client, "POST", path, json=body, params=skip) == counts
    assert await ids(client, "A") == {1, 3}
    assert (await put_set(client, "A", body, on_conflict="move"))["added"] == 2
    assert (await ids(client, "A"), await ids(client, "B")) == ({1, 2, 3, 4}, set())
