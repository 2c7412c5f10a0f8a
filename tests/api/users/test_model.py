"""Random histories: the service gives the answers of a model of the membership rule."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import inf
from typing import Any
from urllib.parse import urlencode

import asyncpg
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from segsvc.api.reports import store as reports
from segsvc.api.users import store
from segsvc.app import create_app
from segsvc.db.session import SESSION, pin
from tests.api.users.model import TICK, Model, Segment
from tests.clock import pass_time
from tests.conftest import SECRET

# Few enough that most steps meet what earlier ones left. By their points, user 2 is in A from
# 15.7 % and in C from 56.5 %, user 3 in A from 51.5 % and in C from 31.5 %.
SLUGS = st.sampled_from(["A", "C"])
EVERYONE = [2, 3]
USERS = st.sampled_from(EVERYONE)
PERCENTS = st.one_of(st.none(), st.sampled_from(["0", "20.05", "40", "55", "100"]).map(Decimal))
# Lives end on the hour and time passes by the half, so that no end is a matter of microseconds.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
DELAYS = st.one_of(st.just(0), st.integers(1, 6))
LIVES = st.one_of(st.just(inf), st.integers(1, 6))
SPANS = st.integers(0, 8).map(lambda n: n + 0.5)


class Service(RuleBasedStateMachine):
    """The service beside the model; each step is made in both."""

    dsn: str

    @initialize(percents=st.lists(PERCENTS, min_size=2, max_size=2))
    def start(self, percents: list[Decimal | None]) -> None:
        self.runner = asyncio.Runner()
        self.model = Model()
        # Moments between two steps, as the model and as the database tell the time.
        self.moments: list[tuple[float, datetime]] = []
        self.runner.run(self._start())
        for slug, percent in zip("AC", percents, strict=True):
            self.create(slug, percent)

    async def _start(self) -> None:
        # As the service does: compiling a statement may take far longer than running it.
        self.conn = await asyncpg.connect(self.dsn)
        await pin(self.conn, SESSION)
        await self.conn.execute("TRUNCATE segment, rollout, users, membership")
        self.client = TestClient(TestServer(create_app(self.dsn, secret=SECRET, anonymous=True)))
        await self.client.start_server()

    def teardown(self) -> None:
        async def stop() -> None:
            await self.client.close()
            await self.conn.close()

        self.runner.run(stop())
        self.runner.close()

    def call(self, method: str, path: str, body: Any, expected: int) -> Any:
        async def request() -> Any:
            response = await self.client.request(method, f"/api/v1{path}", json=body)
            text = await response.text()
            assert response.status == expected, text
            return await response.json() if text else None

        return self.runner.run(request())

    @rule(slug=SLUGS, percent=PERCENTS)
    def create(self, slug: str, percent: Decimal | None) -> None:
        """A segment is created, unless its slug is taken."""
        taken = self.model.live(slug)
        body = {"slug": slug, "percent": None if percent is None else float(percent)}
        self.call("POST", "/segments", body, 409 if taken else 201)
        if not taken:
            self.model.create(slug, percent)

    @rule(slug=SLUGS)
    def delete(self, slug: str) -> None:
        """A segment is deleted, if there is one."""
        segment = self.model.live(slug)
        self.call("DELETE", f"/segments/{slug}", None, 204 if segment else 404)
        if segment:
            self.model.delete(segment)

    @rule(slug=SLUGS, hours=LIVES)
    def set_end(self, slug: str, hours: float) -> None:
        """The end of a segment is planned, moved or lifted, unless a step would come after it."""
        segment = self.model.live(slug)
        at = None if hours == inf else datetime.now(UTC) + timedelta(hours=hours)
        accepted = segment and self.model.set_end(segment, hours)
        expected = 200 if accepted else 422 if segment else 404
        body = {"ends_at": at and at.isoformat()}
        self.call("PATCH", f"/segments/{slug}", body, expected)

    @rule(slug=SLUGS, percent=PERCENTS, plan=st.sampled_from(["keep", "cancel", None]))
    def set_percent(self, slug: str, percent: Decimal | None, plan: str | None) -> None:
        """A percentage is set, changed or lifted, if there is a segment for it."""
        segment = self.model.live(slug)
        body: dict[str, Any] = {"percent": None if percent is None else float(percent)}
        refused = segment and plan is None and segment.plan(self.model.now)
        expected = 409 if refused else 200 if segment else 404
        self.call("PATCH", f"/segments/{slug}", body | ({"plan": plan} if plan else {}), expected)
        if segment and not refused:
            self.model.set_percent(segment, percent, keep=plan == "keep")

    @rule(slug=SLUGS, steps=st.dictionaries(st.integers(1, 9), PERCENTS, min_size=1, max_size=3))
    def set_plan(self, slug: str, steps: dict[int, Decimal | None]) -> None:
        """What is planned for a percentage is replaced."""
        segment = self.model.live(slug)
        path, now, increasing = f"/segments/{slug}/plan", datetime.now(UTC), sorted(steps.items())
        body = {
            "steps": [
                {
                    "at": (now + timedelta(hours=hours)).isoformat(),
                    "percent": None if percent is None else float(percent),
                }
                for hours, percent in increasing
            ]
        }
        refused = segment and not self.model.starts_in_time(segment, increasing[-1][0])
        answer = self.call("PUT", path, body, 422 if refused else 200 if segment else 404)
        if segment and not refused:
            self.model.set_plan(segment, increasing)
            assert self.call("GET", path, None, 200) == answer
            expected = [percent for _, percent in segment.plan(self.model.now)]
            found = [step["percent"] for step in answer["steps"]]
            assert found == [None if p is None else float(p) for p in expected]

    @rule(slug=SLUGS)
    def cancel_plan(self, slug: str) -> None:
        """What is planned for a percentage is cancelled."""
        segment = self.model.live(slug)
        self.call("DELETE", f"/segments/{slug}/plan", None, 204 if segment else 404)
        if segment:
            self.model.set_plan(segment, [])

    @rule(
        user_id=USERS,
        add=st.dictionaries(SLUGS, st.tuples(LIVES, DELAYS), max_size=2),
        remove=st.sets(SLUGS, max_size=1),
    )
    def change(self, user_id: int, add: dict[str, tuple[float, int]], remove: set[str]) -> None:
        """A user is put into segments, now or later, and taken out of others, all or nothing."""
        refused = (
            add.keys() & remove
            or not (add or remove)
            or not all(self.model.live(slug) for slug in add.keys() | remove)
            or not all(self._starts_in_time(slug, delay) for slug, (_, delay) in add.items())
        )
        entries = [
            {"slug": slug} | self._term(hours, delay) for slug, (hours, delay) in add.items()
        ]
        body = {"add": entries, "remove": sorted(remove)}
        answer = self.call("POST", f"/users/{user_id}/segments", body, 422 if refused else 200)
        if refused:
            return
        self.model.know(user_id)
        segments = {s.slug: s for s in self.model.segments if s is self.model.live(s.slug)}
        added = [s for s, term in add.items() if self.model.add(user_id, segments[s], *term)]
        removed = [s for s in remove if self.model.remove(user_id, segments[s])]
        assert answer["added"] == sorted(added)
        assert answer["removed"] == sorted(removed)
        assert answer["segments"] == self.model.slugs(user_id, self.model.now)

    @rule(slug=SLUGS, user_ids=st.lists(USERS, max_size=3), hours=LIVES, delay=DELAYS)
    def add_members(self, slug: str, user_ids: list[int], hours: float, delay: int) -> None:
        """A file of users is added, now or later, some of them twice."""
        query = urlencode(self._term(hours, delay))
        self._import(
            slug,
            f"add?{query}",
            user_ids,
            lambda user, segment: self.model.add(user, segment, hours, delay),
            refused=not self._starts_in_time(slug, delay),
        )

    def _starts_in_time(self, slug: str, delay: int) -> bool:
        """Return whether what begins in `delay` hours begins before the end of the segment."""
        segment = self.model.live(slug)
        return segment is None or self.model.starts_in_time(segment, delay)

    @staticmethod
    def _term(hours: float, delay: int) -> dict[str, Any]:
        """Return when a membership begins and ends, as a request says it."""
        term: dict[str, Any] = {} if hours == inf else {"ttl": int(hours * 3600)}
        if delay:
            term["starts_at"] = (datetime.now(UTC) + timedelta(hours=delay)).isoformat()
        return term

    @rule(slug=SLUGS, user_ids=st.lists(USERS, max_size=3))
    def remove_members(self, slug: str, user_ids: list[int]) -> None:
        """A file of users is removed, some of them twice."""
        self._import(slug, "remove", user_ids, self.model.remove)

    def _import(
        self,
        slug: str,
        way: str,
        user_ids: list[int],
        change: Callable[[int, Segment], bool],
        *,
        refused: bool = False,
    ) -> None:
        segment = self.model.live(slug)
        expected = 404 if segment is None else 422 if refused else 200
        path = f"/api/v1/segments/{slug}/members/{way}"

        async def post() -> Any:
            body = "".join(f"{user_id}\n" for user_id in user_ids)
            headers = {"Content-Type": "text/csv"}
            response = await self.client.post(path, data=body, headers=headers)
            assert response.status == expected, await response.text()
            return await response.json()

        answer = self.runner.run(post())
        if segment and not refused:
            for user_id in set(user_ids):
                self.model.know(user_id)
            changed = sum(change(user_id, segment) for user_id in set(user_ids))
            assert answer == {
                "received": len(user_ids),
                "changed": changed,
                "unchanged": len(user_ids) - changed,
            }

    @rule(slug=SLUGS)
    def list_members(self, slug: str) -> None:
        """The members of a segment are those who are in, with the reasons that each has."""
        segment = self.model.live(slug)
        path = f"/segments/{slug}/members"
        answer = self.call("GET", path, None, 200 if segment else 404)
        if not segment:
            return
        now = self.model.tick()
        inside = [u for u in EVERYONE if self.model.is_in(u, segment, now)]
        assert [member["user_id"] for member in answer["members"]] == inside
        for member in answer["members"]:
            path = f"/users/{member['user_id']}/memberships"
            reasons = self.call("GET", path, None, 200)["memberships"]
            (reason,) = [each for each in reasons if each["slug"] == slug]
            assert all(reason[key] == member[key] for key in ("source", "since", "expires_at"))

    @rule(slug=SLUGS, ago=st.integers(0, 9))
    def list_members_then(self, slug: str, ago: int) -> None:
        """The members of a segment at a moment before are those who were in."""
        told, moment = self.moments[max(0, len(self.moments) - 1 - ago)]
        was_live = any(
            s.slug == slug and s.created_at <= told < s.deleted_at for s in self.model.segments
        )
        path = f"/segments/{slug}/members?{urlencode({'at': moment.isoformat()})}"
        answer = self.call("GET", path, None, 200 if was_live else 404)
        if was_live:
            inside = [u for u in EVERYONE if slug in self.model.slugs(u, told)]
            assert [member["user_id"] for member in answer["members"]] == inside

    @rule(user_id=USERS)
    def read(self, user_id: int) -> None:
        """A read answers the rule, and makes the user known."""
        answer = self.call("GET", f"/users/{user_id}/segments", None, 200)
        self.model.know(user_id)
        assert answer["segments"] == self.model.slugs(user_id, self.model.tick())

    @rule(user_id=USERS)
    def explain(self, user_id: int) -> None:
        """The reasons for being in are for just the segments that the user is in."""
        answer = self.call("GET", f"/users/{user_id}/memberships", None, 200)
        self.model.know(user_id)
        reasons = answer["memberships"]
        included = [each["slug"] for each in reasons if each["state"] == "included"]
        assert included == self.model.slugs(user_id, self.model.tick())
        plans = self.model.planned(user_id)
        planned = [p.segment.slug for p in plans if p.segment.deleted_at > p.valid_from]
        assert sorted(each["slug"] for each in answer["upcoming"]) == sorted(planned)

    @precondition(lambda self: self.model.segments)
    @rule(hours=SPANS)
    def pass_time(self, hours: float) -> None:
        """Time passes, and nothing runs."""
        span = timedelta(hours=hours)
        self.runner.run(pass_time(self.conn, span))
        self.model.now += hours
        self.moments = [(told, moment - span) for told, moment in self.moments]

    @invariant()
    def reads_agree(self) -> None:
        """As of now and of every moment before, each user is in the segments of the rule."""
        if not hasattr(self, "moments"):
            return  # before start
        self.model.tick()
        self.moments.append((self.model.now, self._value("SELECT clock_timestamp()")))
        self.model.now += TICK
        for told, moment in self.moments:
            expected = [self.model.slugs(user_id, told) for user_id in EVERYONE]
            rows = self.runner.run(self.conn.fetch(store.LIST_AT, EVERYONE, moment))
            assert [row["segments"] for row in rows] == expected

    @rule(hours=st.integers(0, 12).map(lambda n: n + 0.25), user_id=USERS)
    def preview(self, hours: float, user_id: int) -> None:
        """What is read as of a future time is what the plans make of it."""
        if user_id in self.model.first_seen_at:
            at = self._value("SELECT clock_timestamp()") + timedelta(hours=hours)
            rows = self.runner.run(self.conn.fetch(store.LIST_AT, [user_id], at))
            assert rows[0]["segments"] == self.model.slugs(user_id, self.model.now + hours)

    @rule()
    def report(self) -> None:
        """The reports of all months together are the histories of all users."""
        lines: list[bytes] = []

        async def collect(piece: bytes) -> None:
            lines.extend(piece.splitlines())

        async def copy() -> None:
            await self.conn.copy_from_query(
                reports.COPY_MONTH, EARLIEST, LATEST, output=collect, format="csv", delimiter=";"
            )

        self.runner.run(copy())
        found = [tuple(line.decode().split(";")[:3]) for line in lines]
        expected = [(str(u), *event) for u in EVERYONE for event in self.model.events(u)]
        assert sorted(found) == sorted(expected)
        assert [user for user, _, _ in found] == sorted(user for user, _, _ in found)

    @invariant()
    def events_agree(self) -> None:
        """The events are the model's; they alternate; replayed to a moment they give its reads."""
        if not hasattr(self, "moments"):
            return
        for user_id in EVERYONE:
            rows = self.runner.run(
                self.conn.fetch(store.LIST_EVENTS, user_id, EARLIEST, LATEST, EARLIEST, "", 10_000)
            )
            events = [(row["slug"], row["operation"]) for row in rows]
            expected = self.model.events(user_id)
            # Ends of one request have the same time, which the model tells apart.
            assert sorted(events) == sorted(expected)
            for slug in "AC":
                operations = [operation for s, operation in events if s == slug]
                assert operations == (["add", "remove"] * len(operations))[: len(operations)]
            for told, moment in self.moments:
                inside: set[str] = set()
                for row in rows:
                    if row["at"] <= moment:
                        change = inside.add if row["operation"] == "add" else inside.discard
                        change(row["slug"])
                assert sorted(inside) == self.model.slugs(user_id, told)

    def _value(self, query: str) -> Any:
        return self.runner.run(self.conn.fetchval(query))


@pytest.mark.parametrize("histories", [10, pytest.param(150, marks=pytest.mark.slow)])
def test_service_agrees_with_the_model(dsn: str, histories: int) -> None:
    """Current and as-of reads agree with the model after every step of random histories."""
    Service.dsn = dsn
    run_state_machine_as_test(
        Service,
        settings=settings(
            max_examples=histories,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
