"""Calls to the API. Each checks the status that it expects; `attempt` returns it instead."""

from collections.abc import Iterable
from typing import Any

from segsvc.http import BASE
from tests.conftest import Client


async def call(client: Client, method: str, path: str, status: int = 200, **sent: Any) -> Any:
    """Send a request below the base path, check its status, and return the JSON of the response."""
    response = await client.request(method, BASE + path, **sent)
    assert response.status == status, await response.text()
    return await response.json()


async def create(client: Client, slug: str, percent: float | None = None) -> None:
    """Create a segment."""
    segment = await call(client, "POST", "/segments", 201, json={"slug": slug, "percent": percent})
    assert segment["percent"] == percent


async def set_percent(client: Client, slug: str, percent: float | None) -> None:
    """Set the percentage of a segment."""
    segment = await call(client, "PATCH", f"/segments/{slug}", json={"percent": percent})
    assert segment["percent"] == percent


async def delete(client: Client, slug: str) -> None:
    """Delete a segment."""
    assert (await client.delete(f"{BASE}/segments/{slug}")).status == 204


async def members(client: Client, slug: str, **page: Any) -> list[dict[str, Any]]:
    """Return the members of a segment, by default at most 1000."""
    page = {"limit": 1000} | page
    answer = await call(client, "GET", f"/segments/{slug}/members", params=page)
    found: list[dict[str, Any]] = answer["members"]
    return found


async def attempt(client: Client, user_id: int, **body: Any) -> tuple[int, dict[str, Any]]:
    """Send a change of a user's segments that may be refused; return the status and the answer."""
    response = await client.post(f"{BASE}/users/{user_id}/segments", json=body)
    return response.status, await response.json()


async def change(client: Client, user_id: int, **body: Any) -> dict[str, Any]:
    """Change the segments of a user; `body` has `add`, `remove`, `ttl` and `expires_at`."""
    status, answer = await attempt(client, user_id, **body)
    assert status == 200, answer
    return answer


async def read(client: Client, user_id: int, **query: str) -> list[str]:
    """Return the segments of a user; `query` may have `at`."""
    answer = await call(client, "GET", f"/users/{user_id}/segments", params=query)
    assert answer["user_id"] == user_id
    slugs: list[str] = answer["segments"]
    return slugs


async def read_many(client: Client, user_ids: Iterable[int]) -> dict[int, list[str]]:
    """Return the segments of many users, asked for in one request."""
    asked = list(user_ids)
    users = (await call(client, "POST", "/users/segments", json={"user_ids": asked}))["users"]
    assert [user["user_id"] for user in users] == asked
    return {user["user_id"]: user["segments"] for user in users}


async def explain(client: Client, user_id: int) -> dict[str, dict[str, Any]]:
    """Return the memberships of a user by slug."""
    answer = await call(client, "GET", f"/users/{user_id}/memberships")
    assert answer["user_id"] == user_id
    slugs = [each["slug"] for each in answer["memberships"]]
    assert slugs == sorted(slugs)
    return {each.pop("slug"): each for each in answer["memberships"]}


async def history(client: Client, user_id: int, **page: str) -> list[tuple[str, str, str]]:
    """Return slug, operation and cause of the events on a page of a user's history."""
    events = (await call(client, "GET", f"/users/{user_id}/history", params=page))["events"]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    return [(event["slug"], event["operation"], event["cause"]) for event in events]
