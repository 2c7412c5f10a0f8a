"""`GET /segments`: search, order and pages."""

from datetime import timedelta
from typing import Any

import pytest

from segsvc.db.pool import Connection
from tests.api_calls import call, change, create
from tests.clock import pass_time
from tests.conftest import Client


async def listed(client: Client, **query: Any) -> list[str]:
    """Return the slugs of all pages."""
    slugs: list[str] = []
    query = {"limit": 2} | query
    while True:
        page = await call(client, "GET", "/segments", params=query)
        slugs += [segment["slug"] for segment in page["segments"]]
        if page["next"] is None:
            return slugs
        query["after"] = page["next"]


@pytest.fixture(autouse=True)
async def segments(client: Client, conn: Connection) -> None:
    for slug, description in (
        ("VOICE", "Messages 100%"),
        ("DISCOUNT_30", "price off"),
        ("DISCOUNT_50", "half the Price"),
        ("voice_2", "line\nfeed"),
        ("EMPTY", ""),
    ):
        body = {"slug": slug, "description": description}
        await call(client, "POST", "/segments", 201, json=body)
        await pass_time(conn, timedelta(minutes=1))


async def test_order(client: Client) -> None:
    """By slug, bytewise; the newest first; and the largest first, each with its members."""
    assert await listed(client) == ["DISCOUNT_30", "DISCOUNT_50", "EMPTY", "VOICE", "voice_2"]
    newest = ["EMPTY", "voice_2", "DISCOUNT_50", "DISCOUNT_30", "VOICE"]
    assert await listed(client, sort="created_at") == newest
    await change(client, 1, add=["EMPTY", "VOICE", "DISCOUNT_30", "DISCOUNT_50"])
    await change(client, 2, add=["EMPTY", "VOICE"])
    await change(client, 3, add=["EMPTY"])
    body = {"slug": "L", "segments": ["DISCOUNT_30", "DISCOUNT_50"]}
    await call(client, "POST", "/layers", 201, json=body)
    largest = ["EMPTY", "VOICE", "DISCOUNT_50", "DISCOUNT_30", "voice_2"]
    assert await listed(client, sort="members") == largest
    page = await call(client, "GET", "/segments", params={"sort": "members"})
    assert [segment["members"] for segment in page["segments"]] == [3, 2, 1, 0, 0]
    for segment in page["segments"]:
        described = await call(client, "GET", f"/segments/{segment['slug']}")
        assert segment == described
    assert "members" not in (await call(client, "GET", "/segments"))["segments"][0]


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("voice", ["VOICE", "voice_2"]),
        ("PRICE", ["DISCOUNT_30", "DISCOUNT_50"]),
        ("100%", ["VOICE"]),
        ("%", ["VOICE"]),
        ("_", ["DISCOUNT_30", "DISCOUNT_50", "voice_2"]),
        ("e\nf", ["voice_2"]),
        ("2\nline", []),
        ("\\", []),
        ("", ["DISCOUNT_30", "DISCOUNT_50", "EMPTY", "VOICE", "voice_2"]),
    ],
)
async def test_search(client: Client, q: str, expected: list[str]) -> None:
    """A part of the slug or of the description finds a segment, in any case, as it is."""
    assert await listed(client, q=q) == expected
    assert sorted(await listed(client, q=q, sort="members")) == expected
    assert sorted(await listed(client, q=q, sort="created_at")) == expected


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"sort": "size"}, "#/sort"),
        ({"q": "\0"}, "#/q"),
        ({"sort": "members", "after": "VOICE"}, "#/after"),
        ({"after": "1,VOICE"}, "#/after"),
        ({"sort": "members", "after": "-1,VOICE"}, "#/after"),
        ({"sort": "members", "after": "9999999999999999999,VOICE"}, "#/after"),
        ({"sort": "members", "after": "1,2,VOICE"}, "#/after"),
    ],
)
async def test_bad_queries(client: Client, query: dict[str, str], pointer: str) -> None:
    """What is wrong is pointed at; a cursor is good for its own order."""
    answer = await call(client, "GET", "/segments", 422, params=query)
    assert [error["pointer"] for error in answer["errors"]] == [pointer]


async def test_members_by_source(client: Client) -> None:
    """The members of a segment are listed by hand, by percentage, or both."""
    await create(client, "A", 50)
    await call(client, "POST", "/users/segments", json={"user_ids": [*range(1, 101)]})
    await change(client, 200, add=["A"])
    await change(client, 201, add=["A"])
    found = {}
    for source in ("manual", "rollout", None):
        query = {"source": source} if source else {}
        path = "/segments/A/members"
        page = await call(client, "GET", path, params=query | {"limit": 1000})
        csv = await client.get(f"/api/v1{path}", params=query, headers={"Accept": "text/csv"})
        rows = [line.split(",") for line in (await csv.text()).splitlines()[1:]]
        found[source] = [each["user_id"] for each in page["members"]]
        assert [int(row[0]) for row in rows] == found[source]
        assert {each["source"] for each in page["members"]} <= (
            {source} if source else {"manual", "rollout"}
        )
    assert found["manual"] == [200, 201]
    assert len(found["rollout"]) > 30
    assert sorted(found["manual"] + found["rollout"]) == found[None]
    await call(client, "GET", "/segments/A/members?source=hand", 422)
