"""`GET /audit`: who changed what, from what to what."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from aiohttp.pytest_plugin import AiohttpClient

from segsvc.api.segments.percentages import Step
from segsvc.api.segments.states import State
from segsvc.app import create_app
from segsvc.auth import store as keys
from segsvc.auth.roles import Role
from segsvc.db.pool import Connection
from tests.api_calls import call, change, create, delete, set_percent
from tests.conftest import SECRET, Client
from tests.processes import run

CSV = {"Content-Type": "text/csv"}


async def entries(client: Client, **query: Any) -> list[dict[str, Any]]:
    """Return the entries, the oldest first."""
    answer = await call(client, "GET", "/audit", params=query)
    found: list[dict[str, Any]] = answer["entries"]
    return found[::-1]


async def changes(client: Client, **query: Any) -> list[tuple[str, str | None, Any]]:
    return [(e["action"], e["slug"], e["details"]) for e in await entries(client, **query)]


async def test_a_segment(client: Client) -> None:
    """What is set of a segment is recorded, before and after; what stays the same is not."""
    await create(client, "A", 10)
    path = "/segments/A"
    await call(client, "PATCH", path, json={"description": "a", "percent": 33.33})
    await call(client, "PATCH", path, json={"description": "a", "percent": 33.33})
    plan = {"steps": [{"at": "2098-01-01T00:00:00Z", "percent": 50}]}
    await call(client, "PUT", f"{path}/plan", json=plan)
    await call(client, "PUT", f"{path}/plan", json=plan)
    await call(client, "PATCH", path, json={"percent": None, "plan": "cancel"})
    await call(client, "PATCH", path, json={"ends_at": "2098-01-01T00:00:00Z"})
    await delete(client, "A")
    stored = [{"at": "2098-01-01T00:00:00.000000Z", "percent": 50.0}]
    end = "2098-01-01T00:00:00.000000Z"
    nothing = {"description": "", "percent": 10.0, "plan": [], "ends_at": None, "layer": None}
    assert await changes(client) == [
        ("segment.create", "A", {"after": nothing}),
        ("segment.change", "A", {"before": {"description": "", "percent": 10.0},
                                 "after": {"description": "a", "percent": 33.33}}),
        ("segment.change", "A", {"before": {"plan": []}, "after": {"plan": stored}}),
        ("segment.change", "A", {"before": {"percent": 33.33, "plan": stored},
                                 "after": {"percent": None, "plan": []}}),
        ("segment.change", "A", {"before": {"ends_at": None}, "after": {"ends_at": end}}),
        ("segment.delete", "A", {"before": nothing | {"description": "a", "percent": None,
                                                      "ends_at": end}}),
    ]  # fmt: skip


async def test_a_refused_change_leaves_no_entry(client: Client) -> None:
    """What is rolled back is not recorded."""
    await create(client, "A", 10)
    await call(client, "POST", "/segments", 409, json={"slug": "A"})
    await call(client, "PATCH", "/segments/A", 422, json={"ends_at": "2020-01-01T00:00:00Z"})
    await call(client, "POST", "/layers", 422, json={"slug": "L", "segments": ["A", "X"]})
    await call(client, "PUT", "/segments/A/members", 422, data=b"", headers=CSV)
    await call(client, "POST", "/segments/A/members/add", data=b"", headers=CSV)
    query = {"dry_run": "true"}
    await call(client, "POST", "/segments/A/members/add", data=b"1\n", headers=CSV, params=query)
    assert [action for action, _, _ in await changes(client)] == ["segment.create"]


async def test_a_layer(client: Client) -> None:
    """A layer has entries of its own, and so have the segments that it changes."""
    await create(client, "A", 10)
    await create(client, "B", 20)
    await create(client, "C")
    body: dict[str, Any] = {"slug": "L", "segments": ["A", "B"], "redeal": True}
    await call(client, "POST", "/layers", 201, json=body)
    await call(client, "PATCH", "/layers/L", json={"percents": {"A": 30, "B": 20}, "add": ["C"]})
    assert (await client.delete("/api/v1/layers/L?redeal=true")).status == 204
    assert (await changes(client))[3:] == [
        ("segment.change", "A", {"before": {"layer": None}, "after": {"layer": "L"}}),
        ("segment.change", "B", {"before": {"layer": None}, "after": {"layer": "L"}}),
        ("layer.create", "L", {"after": {"segments": ["A", "B"]}}),
        ("segment.change", "A", {"before": {"percent": 10.0}, "after": {"percent": 30.0}}),
        ("segment.change", "C", {"before": {"layer": None}, "after": {"layer": "L"}}),
        ("layer.change", "L", {"before": {"segments": ["A", "B"]},
                               "after": {"segments": ["A", "B", "C"]}}),
        ("segment.change", "A", {"before": {"layer": "L"}, "after": {"layer": None}}),
        ("segment.change", "B", {"before": {"layer": "L"}, "after": {"layer": None}}),
        ("segment.change", "C", {"before": {"layer": "L"}, "after": {"layer": None}}),
        ("layer.delete", "L", {"before": {"segments": ["A", "B", "C"]}}),
    ]  # fmt: skip


async def test_many_members(client: Client) -> None:
    """Files and sets leave their counts, and no user ids; changes of one user leave nothing."""
    await create(client, "A")
    await change(client, 1, add=["A"])
    path = "/segments/A/members"
    query = {"ttl": "60", "on_conflict": "move"}
    await call(client, "POST", f"{path}/add", data=b"1\n2\n3\n", headers=CSV, params=query)
    await call(client, "PUT", path, data=b"2\n", headers=CSV)
    await call(client, "POST", f"{path}/remove", json={"from": {"any_of": ["A"]}})
    body = {"slug": "B", "from": {"all_of": ["A"]}, "at": "2020-01-01T00:00:00Z"}
    await call(client, "POST", "/segments", 422, json=body)
    counts = {"received": 3, "ttl": 60, "added": 3, "removed": 0}
    assert (await changes(client))[1:] == [
        ("members.add", "A", {"from": "file"} | counts | {"on_conflict": "move", "skipped": 0}),
        ("members.replace", "A", {"from": "file", "received": 1, "added": 1, "removed": 2}),
        ("members.remove", "A", {"from": {"any_of": ["A"], "all_of": [], "none_of": []},
                                 "received": 1, "added": 0, "removed": 1}),
    ]  # fmt: skip


async def test_who_and_in_which_request(
    aiohttp_client: AiohttpClient, conn: Connection, dsn: str
) -> None:
    """The key and the request are named; keys are recorded by the command line, without either."""
    created = await asyncio.to_thread(
        run, "keys", "create", "ann", "--role", "editor", database_url=dsn
    )
    ann = created.stdout.strip()
    key = await keys.create(conn, "bob", Role.EDITOR)
    reader = await keys.create(conn, "eve", Role.READER)
    client: Client = await aiohttp_client(create_app(dsn, secret=SECRET, anonymous=True))
    headers = {"Authorization": f"Bearer {ann}", "X-Request-ID": "request-1"}
    await call(client, "POST", "/segments", 201, json={"slug": "A"}, headers=headers)
    revoked = await asyncio.to_thread(run, "keys", "revoke", "ann", database_url=dsn)
    assert revoked.returncode == 0
    bob: dict[str, Any] = {"headers": {"Authorization": f"Bearer {key}"}}
    answer = await call(client, "GET", "/audit", **bob)
    assert [(e["action"], e["actor"], e["request_id"], e["slug"]) for e in answer["entries"]] == [
        ("key.revoke", None, None, "ann"),
        ("segment.create", "ann", "request-1", "A"),
        ("key.create", None, None, "ann"),
    ]
    assert answer["entries"][2]["details"] == {"after": {"role": "editor"}}
    only = await call(client, "GET", "/audit", params={"actor": "ann"}, **bob)
    assert [entry["slug"] for entry in only["entries"]] == ["A"]
    assert ann.partition(".")[2] not in json.dumps(answer)
    await call(client, "GET", "/audit", 403, headers={"Authorization": f"Bearer {reader}"})


async def test_changes_at_once_are_a_chain(client: Client) -> None:
    """Each change begins with what the one before it left, however many are sent at once."""
    await create(client, "A", 0)
    await create(client, "B", 0)
    await call(client, "POST", "/layers", 201, json={"slug": "L", "segments": ["A", "B"]})
    sent = [set_percent(client, "A", percent) for percent in range(1, 21)]
    for percent in range(21, 31):
        body = {"percents": {"A": percent, "B": percent}}
        sent.append(call(client, "PATCH", "/layers/L", json=body))
    await asyncio.gather(*sent)
    found = [entry["details"] for entry in await entries(client, slug="A")]
    moves = [each for each in found if "percent" in each.get("before", {})]
    assert len(moves) == 30
    assert moves[0]["before"] == {"percent": 0.0}
    for then, now in pairwise(moves):
        assert now["before"]["percent"] == then["after"]["percent"]


def test_a_plan_that_begins_meanwhile_is_no_change() -> None:
    """A state as of a later time has the step of the plan that came by then, and ends by itself."""
    noon, one = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 13, tzinfo=UTC)
    steps = [Step(noon, Decimal(5)), Step(one, None)]
    state = State("", Decimal(1), steps, one, None)
    assert state.at(noon) == State("", Decimal(5), steps[1:], one, None)
    assert state.at(noon - timedelta(seconds=1)) == state
    assert state.at(one) is None


async def test_pages(client: Client) -> None:
    """Pages go on without a gap while entries are added, of everything or of one slug."""
    await create(client, "A")
    await create(client, "B")
    for percent in range(1, 8):
        await set_percent(client, "A", percent)
        await set_percent(client, "B", percent)
    found: dict[str | None, list[int]] = {}
    for slug in (None, "A"):
        query: dict[str, Any] = {"limit": 3} | ({"slug": slug} if slug else {})
        found[slug] = []
        while True:
            page = await call(client, "GET", "/audit", params=query)
            found[slug] += [entry["id"] for entry in page["entries"]]
            assert slug is None or {entry["slug"] for entry in page["entries"]} == {slug}
            if page["next"] is None:
                break
            query["after"] = page["next"]
            await set_percent(client, "B", 50)
    assert (len(found[None]), len(found["A"])) == (16, 8)
    assert all(ids == sorted(set(ids), reverse=True) for ids in found.values())
    for query in ({"after": "x"}, {"after": "0"}, {"slug": "1"}, {"after": str(2**63)}):
        await call(client, "GET", "/audit", 422, params=query)
