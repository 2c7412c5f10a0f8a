"""`/users/{user_id}/history`: what happened to a user, and why."""

from datetime import timedelta

from segsvc.db.pool import Connection
from tests.api_calls import change, create, delete, history, read, set_percent
from tests.clock import pass_time
from tests.conftest import Client

HOUR = timedelta(hours=1)


async def test_causes(client: Client, conn: Connection) -> None:
    """Each way in and out has its cause, in the order of time."""
    await create(client, "HAND")
    await create(client, "AUTO", 100)
    await create(client, "GONE")
    await change(client, 1, add=["HAND"])
    await change(client, 1, remove=["HAND"])
    await change(client, 1, add=["HAND", "GONE"], ttl=7200)
    await change(client, 1, remove=["AUTO"])
    await change(client, 1, add=["AUTO"], ttl=3600)
    await pass_time(conn, HOUR)
    await delete(client, "GONE")
    await pass_time(conn, HOUR)
    await set_percent(client, "AUTO", 0)
    await set_percent(client, "AUTO", 100)
    assert await history(client, 1) == [
        ("AUTO", "add", "rollout"),
        ("HAND", "add", "added"),
        ("HAND", "remove", "removed"),
        ("GONE", "add", "added"),
        ("HAND", "add", "added"),
        ("AUTO", "remove", "removed"),
        ("AUTO", "add", "added"),
        ("GONE", "remove", "segment_deleted"),
        ("HAND", "remove", "expired"),
        ("AUTO", "remove", "rollout"),
        ("AUTO", "add", "rollout"),
    ]


async def test_expiry_has_its_exact_time(client: Client, conn: Connection) -> None:
    """A removal by TTL has the time that was set, whenever the history is read."""
    await create(client, "A")
    await change(client, 1, add=["A"], ttl=3600)
    await pass_time(conn, 10 * HOUR)
    response = await client.get("/api/v1/users/1/history")
    end = (await response.json())["events"][1]["at"]
    stored = await conn.fetchval("SELECT valid_to FROM membership")
    assert end == stored.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def test_end_to_come_is_no_event(client: Client) -> None:
    """What has not ended yet has no removal, however far the page reaches."""
    await create(client, "A")
    await change(client, 1, add=["A"], ttl=60)
    assert await history(client, 1, to="2100-01-01T00:00:00Z") == [("A", "add", "added")]


async def test_continued_stay_is_no_event(client: Client, conn: Connection) -> None:
    """By hand into an automatic segment and back by the end of it: the user was in throughout."""
    await create(client, "A", 100)
    await read(client, 1)
    await change(client, 1, add=["A"], ttl=3600)
    await set_percent(client, "A", 99.99)
    await pass_time(conn, 2 * HOUR)
    assert await history(client, 1) == [("A", "add", "rollout")]


async def test_pages(client: Client) -> None:
    """Pages follow each other without gap or overlap, events of one time included."""
    slugs = [f"S{n}" for n in range(7)]
    for slug in slugs:
        await create(client, slug)
    await change(client, 1, add=slugs)
    await change(client, 1, remove=slugs)
    whole = await history(client, 1)
    assert len(whole) == 14
    seen: list[tuple[str, str, str]] = []
    page: dict[str, str] = {"limit": "4"}
    for size in (4, 4, 4, 2):
        response = await client.get("/api/v1/users/1/history", params=page)
        answer = await response.json()
        assert len(answer["events"]) == size
        seen += [(e["slug"], e["operation"], e["cause"]) for e in answer["events"]]
        page |= {"after": str(answer["next"])}
    assert answer["next"] is None
    assert seen == whole


async def test_bounds(client: Client) -> None:
    """The first moment is in, the one after the last is not."""
    await create(client, "A")
    await change(client, 1, add=["A"])
    await change(client, 1, remove=["A"])
    response = await client.get("/api/v1/users/1/history")
    add, remove = (event["at"] for event in (await response.json())["events"])
    one = [("A", "add", "added")]
    assert await history(client, 1, **{"from": add, "to": remove}) == one
    assert await history(client, 1, to=add) == []
    assert await history(client, 2) == []


async def test_wrong_parameters(client: Client) -> None:
    """Each wrong parameter is pointed at."""
    for name, value in (
        ("from", "yesterday"), ("to", "2024-01-01"), ("limit", "0"), ("after", "x"),
        ("after", "2024-01-01T00:00:00Z,1"), ("until", "2024-01-01T00:00:00Z"),
    ):  # fmt: skip
        response = await client.get("/api/v1/users/1/history", params={name: value})
        assert response.status == 422
        errors = (await response.json())["errors"]
        assert [error["pointer"] for error in errors] == [f"#/{name}"]
