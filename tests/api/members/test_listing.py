"""`GET /segments/{slug}/members`: who is in a segment, in pages and as CSV."""

import csv
import io
from typing import Any

import pytest

from segsvc.db.pool import Connection
from tests.api_calls import call, create, explain, members, set_percent
from tests.conftest import Client

MEMBERS = "/api/v1/segments/A/members"
CSV = {"Accept": "text/csv"}

# A took everyone until March 2024, 20 % from July on, everyone for January 2025, and 50 % since.
# Users 1 to 300 are known.
PAST = """
    INSERT INTO segment (slug, description, created_at) VALUES ('A', '', '2024-01-01');
    INSERT INTO users SELECT u, timestamptz '2024-02-01' FROM generate_series(1, 300) AS u;
    INSERT INTO rollout (segment_id, percent, salt, points, valid_from, valid_to)
    SELECT 1, r.percent, 'A', rollout_points(r.percent), r.valid_from, r.valid_to
    FROM (VALUES
        (100, timestamptz '2024-01-01', timestamptz '2024-02-15'),
        (90, '2024-02-15', '2024-03-01'),
        (20, '2024-07-01', '2025-01-01'),
        (100, '2025-01-01', '2025-02-01'),
        (50, '2025-02-01', 'infinity')
    ) AS r (percent, valid_from, valid_to);
    INSERT INTO membership (user_id, segment_id, included, valid_from, valid_to)
    SELECT u, 1, u % 2 = 0, timestamptz '2024-08-01', CASE u % 4
        WHEN 0 THEN timestamptz '2025-05-01' WHEN 1 THEN '2099-01-01' ELSE 'infinity' END
    FROM generate_series(1, 40) AS u;
"""


async def page(client: Client, **query: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await call(client, "GET", "/segments/A/members", params=query)
    return answer


async def everyone(client: Client) -> list[dict[str, Any]]:
    answer = await page(client, limit=1000)
    assert answer["next"] is None
    found: list[dict[str, Any]] = answer["members"]
    return found


async def test_members_are_those_who_are_in_and_why(client: Client, conn: Connection) -> None:
    """The list agrees with the segments of each user, and with the reasons for them."""
    await conn.execute(PAST)
    found = {member["user_id"]: member for member in await everyone(client)}
    assert list(found) == sorted(found)
    for user_id in range(1, 301):
        inside = [
            {key: reason[key] for key in ("source", "since", "expires_at")}
            for reason in (await explain(client, user_id)).values()
            if reason["state"] == "included"
        ]
        assert (
            [{k: v for k, v in found[user_id].items() if k != "user_id"}] == inside
            if (user_id in found)
            else inside == []
        )
    assert {member["source"] for member in found.values()} == {"manual", "rollout"}
    assert len({member["since"] for member in found.values()}) == 4


@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_pages(client: Client, conn: Connection, limit: int) -> None:
    """The pages together are the whole list, for every page size."""
    await conn.execute(PAST)
    found = []
    answer = await page(client, limit=limit)
    while answer["next"] is not None:
        assert len(answer["members"]) == limit
        assert isinstance(answer["next"], str)
        found += answer["members"]
        answer = await page(client, limit=limit, after=answer["next"])
    assert found + answer["members"] == await everyone(client)


async def test_csv(client: Client, conn: Connection) -> None:
    """As CSV the list comes whole, with a header, and says the same."""
    await conn.execute(PAST)
    for offer in ("text/csv", "text/csv; q=0.9, */*;q=0.1", "TEXT/CSV"):
        response = await client.get(MEMBERS, headers={"Accept": offer})
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert response.headers["Content-Disposition"] == 'attachment; filename="A.csv"'
        rows = list(csv.DictReader(io.StringIO(await response.text())))
        expected = [
            {k: "" if v is None else str(v) for k, v in member.items()}
            for member in await everyone(client)
        ]
        assert rows == expected
    for offer in ("*/*", "application/json", "text/csv;q=0", "text/csvx"):
        response = await client.get(MEMBERS, headers={"Accept": offer})
        assert response.content_type == "application/json"
        assert response.headers["Vary"] == "Accept"


async def test_csv_goes_back_in(client: Client, conn: Connection) -> None:
    """The first column of the CSV is a file of members, header and all."""
    await conn.execute(PAST)
    await create(client, "B")
    text = await (await client.get(MEMBERS, headers=CSV)).text()
    first = "".join(f"{line.partition(',')[0]}\n" for line in text.splitlines())
    headers = {"Content-Type": "text/csv"}
    await call(client, "POST", "/segments/B/members/add", data=first, headers=headers)
    assert [m["user_id"] for m in await members(client, "B")] == [
        m["user_id"] for m in await everyone(client)
    ]


async def test_none(client: Client, conn: Connection) -> None:
    """A segment without members has an empty page, and a CSV of its header alone."""
    await create(client, "A")
    empty = await page(client)
    assert (empty["members"], empty["next"]) == ([], None)
    text = await (await client.get(MEMBERS, headers=CSV)).text()
    assert text == "user_id,source,since,expires_at\n"
    await conn.execute("INSERT INTO users SELECT u, now() FROM generate_series(1, 100) AS u")
    await set_percent(client, "A", 0)
    empty = await page(client)
    assert (empty["members"], empty["next"]) == ([], None)


async def test_wrong_requests(client: Client) -> None:
    """A slug that is not live is not found; parameters are checked, and a CSV takes none."""
    await create(client, "A")
    for headers in ({}, CSV):
        response = await client.get("/api/v1/segments/NONE/members", headers=headers)
        assert response.status == 404
    for query, headers, wrong in (
        ("limit=0", {}, "#/limit"),
        ("limit=1001", {}, "#/limit"),
        ("after=0", {}, "#/after"),
        ("after=x", {}, "#/after"),
        ("at=x", {}, "#/at"),
        ("limit=1", CSV, "#/limit"),
    ):
        response = await client.get(f"{MEMBERS}?{query}", headers=headers)
        assert response.status == 422
        assert [e["pointer"] for e in (await response.json())["errors"]] == [wrong]
