"""Calls to the API that must succeed, for tests of something else."""

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


async def change(client: Client, user_id: int, **body: Any) -> dict[str, Any]:
    """Change the segments of a user; `body` has `add`, `remove`, `ttl` and `expires_at`."""
    answer: dict[str, Any] = await call(client, "POST", f"/users/{user_id}/segments", json=body)
    return answer


async def read(client: Client, user_id: int, **query: str) -> list[str]:
    """Return the segments of a user; `query` may have `at`."""
    answer = await call(client, "GET", f"/users/{user_id}/segments", params=query)
    assert answer["user_id"] == user_id
    slugs: list[str] = answer["segments"]
    return slugs


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
