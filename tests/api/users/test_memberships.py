"""`/users/{user_id}/memberships`: why a user is in a segment or kept out of it."""

import hashlib
import re
from datetime import timedelta
from math import floor

from segsvc.db.pool import Connection
from tests.api_calls import change, create, delete, explain, read, set_percent
from tests.clock import pass_time
from tests.conftest import Client

SEGMENTS = "/api/v1/segments"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def percentage(slug: str, user_id: int) -> float:
    """Return the point of the design as a percentage, cut off after six decimals."""
    digest = hashlib.sha256(f"{slug}:{user_id}".encode()).hexdigest()
    return floor(int(digest[:8], 16) * 100_000_000 / 2**32) / 1_000_000


async def test_each_reason(client: Client) -> None:
    """By hand, by hand for a time, by rollout, by hand in a rollout, and kept out of one."""
    for slug, percent in (("HAND", None), ("ALL", 100), ("OUT", 100), ("BOTH", 0.01), ("NO", 0)):
        await create(client, slug, percent)
    await change(client, 1000, add=["HAND", {"slug": "BOTH", "ttl": 3600}], remove=["OUT"])
    reasons = await explain(client, 1000)
    for reason in reasons.values():
        assert TIME.fullmatch(reason.pop("since"))
        assert reason.pop("actor") is None
    assert TIME.fullmatch(reasons["BOTH"].pop("expires_at"))
    assert reasons == {
        "ALL": {
            "state": "included", "by": None, "source": "rollout", "expires_at": None,
            "percent": 100, "point": percentage("ALL", 1000),
        },
        "BOTH": {
            "state": "included", "by": None, "source": "manual",
            "percent": 0.01, "point": percentage("BOTH", 1000),
        },
        "HAND": {
            "state": "included", "by": None, "source": "manual", "expires_at": None,
            "percent": None, "point": None,
        },
        "OUT": {
            "state": "excluded", "by": None, "source": "manual", "expires_at": None,
            "percent": 100, "point": percentage("OUT", 1000),
        },
    }  # fmt: skip


async def test_deleted_segments_have_no_reasons(client: Client) -> None:
    """What is deleted is not listed, by hand or by rollout."""
    for slug, percent in (("A", None), ("B", 100), ("C", 100)):
        await create(client, slug, percent)
    await change(client, 1, add=["A"], remove=["C"])
    assert (await explain(client, 1)).keys() == {"A", "B", "C"}
    for slug in "ABC":
        await delete(client, slug)
    assert await explain(client, 1) == {}


async def test_since_when_by_rollout(client: Client, conn: Connection) -> None:
    """By rollout since the percentage first reached the user, or the user became known."""
    hour = timedelta(hours=1)
    await create(client, "A", 0)
    await read(client, 1)
    await pass_time(conn, hour)
    await set_percent(client, "A", 99.99)
    reached = await conn.fetchval("SELECT max(valid_from) FROM rollout")
    await set_percent(client, "A", 100)
    assert (await explain(client, 1))["A"]["since"] == reached.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    await pass_time(conn, hour)
    await read(client, 2)
    first_seen = await conn.fetchval("SELECT first_seen_at FROM users WHERE id = 2")
    assert (await explain(client, 2))["A"]["since"] == first_seen.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def test_since_when_by_rollout_after_a_period(client: Client, conn: Connection) -> None:
    """After a period by hand has ended, the rollout holds since that end."""
    await create(client, "A", 100)
    await change(client, 1, add=["A"], ttl=3600)
    await pass_time(conn, timedelta(hours=2))
    end = await conn.fetchval("SELECT valid_to FROM membership")
    assert (await explain(client, 1))["A"]["since"] == end.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
