"""The program that fills a database with a year of history."""

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from segsvc.api.segments.states import list_states
from segsvc.app import create_app
from segsvc.db import clock
from segsvc.db.pool import Connection
from segsvc.db.values import rfc3339
from tests import ROOT
from tests.api_calls import call, read
from tests.conftest import SECRET, Client
from tests.processes import environment
from tests.processes import run as run_command

SLUGS = ["DISCOUNT_30", "DISCOUNT_50", "PERFORMANCE_VAS", "VOICE_MESSAGES"]
PAGES = ["segments", "users/1000", "users/1", "layers", "audit"]


def seed(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program, by default with few users."""
    return subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py", *(arguments or ("--users", "2000"))],
        env=environment(database_url=dsn),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def seeded(dsn: str) -> str:
    """A database with a history."""
    done = seed(dsn)
    assert done.returncode == 0, done.stderr
    return dsn


@pytest.fixture
async def demo(aiohttp_client: Any, seeded: str) -> Client:
    """A service with a history."""
    client: Client = await aiohttp_client(create_app(seeded, secret=SECRET, anonymous=True))
    return client


def check(dsn: str, users: int) -> None:
    """Look for faults in a database."""
    found = run_command("check", database_url=dsn)
    assert (found.returncode, found.stdout) == (0, f"{users} users checked, 0 faults\n")


def test_no_invariant_is_broken(seeded: str) -> None:
    """The rows are such as the service could have written."""
    check(seeded, 2000)


@pytest.mark.slow
def test_whole_history(dsn: str) -> None:
    """The history that `make demo` shows has no fault either."""
    assert seed(dsn, "--if-empty").returncode == 0
    check(dsn, 50_000)


async def test_refuses_a_database_in_use(seeded: str, conn: Connection) -> None:
    """A second run is refused, or does nothing if that was asked for, and writes no row."""
    counts = """
        SELECT
            (SELECT count(*) FROM segment) AS segments,
            (SELECT count(*) FROM users) AS users,
            (SELECT max(id) FROM audit) AS entries
    """
    before = await conn.fetchrow(counts)
    refused = seed(seeded)
    assert refused.returncode == 1
    assert "nothing was changed" in refused.stderr
    assert seed(seeded, "--if-empty").returncode == 0
    assert await conn.fetchrow(counts) == before


async def test_every_segment_has_a_year(demo: Client, conn: Connection) -> None:
    """Each segment has members, and its size over the year is that of its events."""
    now = await clock.now(conn)
    for slug in SLUGS:
        query = {"from": rfc3339(now - timedelta(364)), "step": "week"}
        stats = (await call(demo, "GET", f"/segments/{slug}/stats", params=query))["stats"]
        assert sum(each["joined"] > 0 for each in stats) > 10
        assert stats[-1]["members"] > 0
        assert sum(each["joined"] - each["left"] for each in stats) == stats[-1]["members"]
    followed: dict[tuple[int, str], str] = {}
    cursor = rfc3339(now - timedelta(366))
    more = True
    while more:
        page = await call(demo, "GET", "/events", params={"after": cursor, "limit": 1000})
        followed |= {(each["user_id"], each["slug"]): each["operation"] for each in page["events"]}
        cursor, more = page["next"], page["more"]
    for user_id in (1, 2, 3, 1000):
        slugs = await read(demo, user_id)
        assert slugs == [s for s in SLUGS if followed.get((user_id, s)) == "add"]


async def test_user_1000(demo: Client) -> None:
    """User 1000 has stays for every reason, one of them suspended and one of them planned."""
    history = await call(
        demo, "GET", "/users/1000/history", params={"from": "2000-01-01T00:00:00Z"}
    )
    causes = {(each["operation"], each["cause"]) for each in history["events"]}
    assert {("add", "added"), ("add", "rollout"), ("add", "layer")} <= causes
    ends = {"removed", "expired", "layer", "segment_deleted"}
    assert {cause for operation, cause in causes if operation == "remove"} == ends
    answer = await call(demo, "GET", "/users/1000/memberships")
    states = {each["slug"]: each["state"] for each in answer["memberships"]}
    assert states == dict.fromkeys(SLUGS, "included") | {"DISCOUNT_30": "suspended"}
    assert [each["slug"] for each in answer["upcoming"]] == ["PERFORMANCE_VAS"]


async def test_audit_log_leads_to_the_segments(seeded: str, conn: Connection) -> None:
    """The changes of the audit log, one after the other, give the segments as they are."""
    assert seeded
    states: dict[str, Any] = {}
    for row in await conn.fetch("SELECT action, slug, details FROM audit ORDER BY at, id"):
        match row["action"], json.loads(row["details"]):
            case "segment.create", {"after": state}:
                states[row["slug"]] = state
            case "segment.change", {"before": before, "after": after}:
                assert states[row["slug"]] == states[row["slug"]] | before
                states[row["slug"]] |= after
            case "segment.delete", {"before": state}:
                assert states.pop(row["slug"]) == state
    now = await clock.now(conn)
    found = await list_states(conn, [*states], now)
    assert {slug: state.shown() for slug, state in found.items()} == states
    assert sorted(states) == SLUGS


async def test_new_segments_get_new_ids(demo: Client) -> None:
    """The service creates a segment and a layer beside those of the history."""
    await call(demo, "POST", "/segments", 201, json={"slug": "NEW"})
    await call(demo, "POST", "/layers", 201, json={"slug": "NEW", "segments": ["NEW"]})


async def test_console(demo: Client) -> None:
    """Each page of the console shows the history."""
    for page in [*PAGES, *(f"segments/{slug}" for slug in SLUGS)]:
        response = await demo.get(f"/console/{page}")
        assert response.status == 200, page
