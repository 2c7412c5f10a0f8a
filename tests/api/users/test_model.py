"""Random histories: the service gives the answers of a model of the membership rule."""

import asyncio
import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
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
from tests.api.users.model import TICK, Layer, Model, Segment, threshold, within
from tests.clock import pass_time
from tests.conftest import SECRET

# Few enough that most steps meet what earlier ones left. By their points, user 2 is in A from
# 15.7 % and in C from 56.5 %, user 3 in A from 51.5 % and in C from 31.5 %.
NAMES = ["A", "C", "E"]
SLUGS = st.sampled_from(NAMES)
LAYERS = st.sampled_from(["L", "M"])
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

    @initialize(percents=st.lists(PERCENTS, min_size=3, max_size=3))
    def start(self, percents: list[Decimal | None]) -> None:
        self.runner = asyncio.Runner()
        self.model = Model()
        # Moments between two steps, as the model and as the database tell the time.
        self.moments: list[tuple[float, datetime]] = []
        self.runner.run(self._start())
        for slug, percent in zip(NAMES, percents, strict=True):
            self.create(slug, percent)

    async def _start(self) -> None:
        # As the service does: compiling a statement may take far longer than running it.
        self.conn = await asyncpg.connect(self.dsn)
        await pin(self.conn, SESSION)
        await self.conn.execute(
            "TRUNCATE segment, rollout, users, membership, layer, layer_segment, audit"
        )
        self.client = TestClient(TestServer(create_app(self.dsn, secret=SECRET, anonymous=True)))
        await self.client.start_server()

    def teardown(self) -> None:
        async def stop() -> None:
            await self.client.close()
            await self.conn.close()

        self.runner.run(stop())
        self.runner.close()

    def call(self, method: str, path: str, body: Any, expected: int) -> Any:
        status, answer = self.attempt(method, path, body)
        assert status == expected, answer
        return answer

    def attempt(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        async def request() -> tuple[int, Any]:
            response = await self.client.request(method, f"/api/v1{path}", json=body)
            text = await response.text()
            return response.status, json.loads(text) if text else None

        return self.runner.run(request())

    def is_free(self, segment: Segment, status: int, answer: Any, *, accepted: int = 200) -> bool:
        """Return whether a percentage was accepted, which may be refused in a layer only."""
        if status == 409 and segment.layer_at(self.model.now):
            assert answer["type"] == "urn:segsvc:problem:not-enough-free"
            return False
        assert status == accepted, answer
        return True

    def learn_points(self, segment: Segment) -> None:
        """Learn which points a layer dealt to a segment, and check them by the rules for points."""
        if segment.layer_at(self.model.now) is None:
            return
        rows = self.runner.run(
            self.conn.fetch(
                """
                SELECT salt, points, percent FROM rollout
                WHERE segment_id = (SELECT max(id) FROM segment WHERE slug = $1)
                AND valid_to > clock_timestamp()
                ORDER BY valid_from
                """,
                segment.slug,
            )
        )
        for step, row in zip(segment.ahead(self.model.now), rows, strict=True):
            assert step.percent == row["percent"]
            before = segment.step_at(step.at - TICK / 2)
            step.salt = row["salt"]
            step.points = [(each.lower, each.upper) for each in row["points"]]
            assert sum(upper - lower for lower, upper in step.points) == threshold(step.percent)
            if before and before.salt == step.salt:
                stays, goes = sorted((before, step), key=lambda each: each.percent or 0)
                assert all(within(each, goes.points) for each in stays.points)

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
        ended = segment.deleted_at if segment else inf
        accepted = segment and self.model.set_end(segment, hours)
        body = {"ends_at": at and at.isoformat()}
        status, answer = self.attempt("PATCH", f"/segments/{slug}", body)
        if segment is None or not accepted:
            assert status == (422 if segment else 404)
        elif self.is_free(segment, status, answer):
            self.learn_points(segment)
        else:
            segment.deleted_at = ended

    @rule(slug=SLUGS, percent=PERCENTS, plan=st.sampled_from(["keep", "cancel", None]))
    def set_percent(self, slug: str, percent: Decimal | None, plan: str | None) -> None:
        """A percentage is set, changed or lifted, if there is a segment for it."""
        segment = self.model.live(slug)
        body: dict[str, Any] = {"percent": None if percent is None else float(percent)}
        refused = segment and plan is None and segment.plan(self.model.now)
        body |= {"plan": plan} if plan else {}
        status, answer = self.attempt("PATCH", f"/segments/{slug}", body)
        if segment is None or refused:
            assert status == (409 if segment else 404)
        elif self.is_free(segment, status, answer):
            self.model.set_percent(segment, percent, keep=plan == "keep")
            self.learn_points(segment)

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
        status, answer = self.attempt("PUT", path, body)
        if segment is None or refused:
            assert status == (422 if segment else 404)
        elif self.is_free(segment, status, answer):
            self.model.set_plan(segment, increasing)
            self.learn_points(segment)
            assert self.call("GET", path, None, 200) == answer
            expected = [step.percent for step in segment.plan(self.model.now)]
            found = [step["percent"] for step in answer["steps"]]
            assert found == [None if p is None else float(p) for p in expected]

    @rule(slug=SLUGS)
    def cancel_plan(self, slug: str) -> None:
        """What is planned for a percentage is cancelled."""
        segment = self.model.live(slug)
        status, answer = self.attempt("DELETE", f"/segments/{slug}/plan", None)
        if segment is None:
            assert status == 404
        elif self.is_free(segment, status, answer, accepted=204):
            self.model.set_plan(segment, [])
            self.learn_points(segment)

    @rule(slug=LAYERS, asked=st.lists(SLUGS, unique=True, min_size=1, max_size=3))
    def form_layer(self, slug: str, asked: list[str]) -> None:
        """A layer is formed, unless its slug is taken or a segment is in another one."""
        segments = [segment for name in asked if (segment := self.model.live(name))]
        body = {"slug": slug, "segments": asked, "redeal": True}
        now = self.model.tick()
        status, answer = self.attempt("POST", "/layers", body)
        if len(segments) < len(asked):
            assert status == 422
        elif slug in self.model.layers or any(segment.layer_at(now) for segment in segments):
            assert status == 409
        elif status == 409:
            assert answer["type"] == "urn:segsvc:problem:not-enough-free"
            assert sum(self.most(segment) for segment in segments) > 100
        else:
            assert status == 201, answer
            automatic = [segment.slug for segment in segments if segment.ahead(now)]
            assert answer["salt"] == [*automatic, slug][0]
            self.model.layers[slug] = layer = Layer(slug)
            self.enter(segments, layer, now)

    @rule(
        slug=LAYERS,
        change=st.dictionaries(SLUGS, st.one_of(st.sampled_from(["add", "remove"]), PERCENTS)),
    )
    def change_layer(self, slug: str, change: dict[str, Any]) -> None:
        """Segments enter a layer, leave it, or change their percentages at one instant."""
        layer = self.model.layers.get(slug)
        segments = {name: segment for name in change if (segment := self.model.live(name))}
        add = [name for name, what in change.items() if what == "add"]
        remove = [name for name, what in change.items() if what == "remove"]
        percents = {n: what for n, what in change.items() if what not in ("add", "remove")}
        body: dict[str, Any] = {"add": add, "remove": remove, "redeal": True}
        body["percents"] = {n: None if p is None else float(p) for n, p in percents.items()}
        body |= {"plan": "keep"} if percents else {}
        body = {name: value for name, value in body.items() if value not in ([], {})}
        now = self.model.tick()
        inside = {n for n, s in segments.items() if layer and s.layer_at(now) is layer}
        status, answer = self.attempt("PATCH", f"/layers/{slug}", body)
        if not change or layer is None:
            assert status == (404 if change else 422)
        elif len(segments) < len(change):
            assert status == 422
        elif any(segments[n].layer_at(now) and n not in inside for n in add):
            assert status == 409
        elif {*remove, *percents} - inside:
            assert status == 422
        elif status == 409:
            assert answer["type"] == "urn:segsvc:problem:not-enough-free"
        else:
            assert status == 200, answer
            self.enter([segments[name] for name in remove], None, now)
            for name, percent in percents.items():
                self.model.set_percent(segments[name], percent, keep=True)
                self.learn_points(segments[name])
            self.enter([segments[name] for name in add if name not in inside], layer, now)

    @rule(slug=LAYERS)
    def delete_layer(self, slug: str) -> None:
        """A layer is deleted, if there is one."""
        layer = self.model.layers.pop(slug, None)
        now = self.model.tick()
        self.call("DELETE", f"/layers/{slug}?redeal=true", None, 204 if layer else 404)
        if layer:
            self.enter([s for s in self.model.segments if s.layer_at(now) is layer], None, now)

    def enter(self, segments: list[Segment], layer: Layer | None, now: float) -> None:
        for segment in segments:
            self.model.enter(segment, layer, now)
            self.learn_points(segment)

    def most(self, segment: Segment) -> Decimal:
        """Return the highest percentage of a segment from now on."""
        return max(
            (step.percent or Decimal() for step in segment.ahead(self.model.now)), default=Decimal()
        )

    @rule(slug=LAYERS)
    def read_layer(self, slug: str) -> None:
        """A layer has its segments, with shares that do not overlap."""
        layer = self.model.layers.get(slug)
        answer = self.call("GET", f"/layers/{slug}", None, 200 if layer else 404)
        if layer:
            now = self.model.tick()
            inside = sorted(s.slug for s in self.model.segments if s.layer_at(now) is layer)
            assert [share["slug"] for share in answer["segments"]] == inside
            percents = [share["percent"] or 0 for share in answer["segments"]]
            assert answer["free"] == pytest.approx(100 - sum(percents))
            ranges = sorted((r["from"], r["to"]) for s in answer["segments"] for r in s["ranges"])
            assert all(before[1] <= after[0] for before, after in pairwise(ranges))

    @rule(
        user_id=USERS,
        add=st.dictionaries(SLUGS, st.tuples(LIVES, DELAYS), max_size=2),
        remove=st.sets(SLUGS, max_size=1),
        on_conflict=st.sampled_from([None, "refuse", "move", "suspend"]),
    )
    def change(
        self,
        user_id: int,
        add: dict[str, tuple[float, int]],
        remove: set[str],
        on_conflict: str | None,
    ) -> None:
        """A user is put into segments, now or later, and taken out of others, all or nothing."""
        now = self.model.tick()
        refused = (
            add.keys() & remove
            or not (add or remove)
            or not all(self.model.live(slug) for slug in add.keys() | remove)
            or not all(self._starts_in_time(slug, delay) for slug, (_, delay) in add.items())
        )
        segments = {s.slug: s for s in self.model.segments if s is self.model.live(s.slug)}
        layers = [segments[s].layer_at(now) for s in add if s in segments]
        refused = refused or any(layer and layers.count(layer) > 1 for layer in layers)
        conflict = on_conflict in {None, "refuse"} and any(
            period.segment.slug not in remove
            for slug, (hours, delay) in add.items()
            if not refused
            for period in self.model.conflicts(
                user_id, segments[slug], now + delay, now + delay + hours
            )
        )
        sent_at = datetime.now(UTC)
        entries = [
            {"slug": slug} | self._term(hours, delay, sent_at)
            for slug, (hours, delay) in add.items()
        ]
        body: dict[str, Any] = {"add": entries, "remove": sorted(remove)}
        body |= {"on_conflict": on_conflict} if on_conflict else {}
        expected = 422 if refused else 409 if conflict else 200
        answer = self.call("POST", f"/users/{user_id}/segments", body, expected)
        if expected != 200:
            return
        self.model.know(user_id)
        now = self.model.tick()
        removed = [s for s in remove if self.model.remove(user_id, segments[s], now)]
        moves = on_conflict == "move"
        added = [
            s
            for s, term in add.items()
            if self.model.add(user_id, segments[s], *term, now=now, moves=moves)
        ]
        assert answer["added"] == sorted(added)
        assert answer["removed"] == sorted(removed)
        assert answer["segments"] == self.model.slugs(user_id, self.model.now)

    @rule(changes=st.dictionaries(USERS, st.tuples(SLUGS, st.booleans()), min_size=2))
    def change_together(self, changes: dict[int, tuple[str, bool]]) -> None:
        """Changes of several users arrive at once; those of what is not live are refused."""

        async def send(user_id: int, slug: str, *, adds: bool) -> tuple[int, Any]:
            body = {"add": [slug], "on_conflict": "move"} if adds else {"remove": [slug]}
            response = await self.client.post(f"/api/v1/users/{user_id}/segments", json=body)
            return response.status, await response.json()

        async def send_all() -> list[tuple[int, Any]]:
            each = (send(n, slug, adds=adds) for n, (slug, adds) in changes.items())
            return await asyncio.gather(*each)

        found = self.runner.run(send_all())
        for (user_id, (slug, adds)), (status, answer) in zip(changes.items(), found, strict=True):
            segment = self.model.live(slug)
            assert status == (200 if segment else 422)
            if segment:
                self.model.know(user_id)
                done = (
                    self.model.add(user_id, segment, inf, moves=True)
                    if adds
                    else self.model.remove(user_id, segment)
                )
                assert answer["added" if adds else "removed"] == ([slug] if done else [])
                assert answer["segments"] == self.model.slugs(user_id, self.model.now)

    @rule(
        slug=SLUGS,
        user_ids=st.lists(USERS, max_size=3),
        hours=LIVES,
        delay=DELAYS,
        on_conflict=st.sampled_from(["refuse", "move", "suspend", "skip"]),
    )
    def add_members(
        self, slug: str, user_ids: list[int], hours: float, delay: int, on_conflict: str
    ) -> None:
        """A file of users is added, now or later, some of them twice."""
        term = self._term(hours, delay, datetime.now(UTC))
        query = urlencode(term | {"on_conflict": on_conflict})
        now = self.model.tick()
        segment = self.model.live(slug)
        conflicts = {
            user
            for user in set(user_ids)
            if segment and self.model.conflicts(user, segment, now + delay, now + delay + hours)
        }
        self._import(
            slug,
            f"add?{query}",
            user_ids,
            lambda user, segment: self.model.add(
                user, segment, hours, delay, moves=on_conflict == "move"
            ),
            refused=(
                422
                if not self._starts_in_time(slug, delay)
                else 409
                if conflicts and on_conflict == "refuse"
                else None
            ),
            conflicts=conflicts,
            skips=on_conflict == "skip",
        )

    def _starts_in_time(self, slug: str, delay: int) -> bool:
        """Return whether what begins in `delay` hours begins before the end of the segment."""
        segment = self.model.live(slug)
        return segment is None or self.model.starts_in_time(segment, delay)

    @staticmethod
    def _term(hours: float, delay: int, sent_at: datetime) -> dict[str, Any]:
        """Return when a membership begins and ends, as a request says it."""
        term: dict[str, Any] = {} if hours == inf else {"ttl": int(hours * 3600)}
        if delay:
            term["starts_at"] = (sent_at + timedelta(hours=delay)).isoformat()
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
        refused: int | None = None,
        conflicts: Collection[int] = (),
        skips: bool = False,
    ) -> None:
        segment = self.model.live(slug)
        expected = 404 if segment is None else refused or 200
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
            left = [user_id for user_id in user_ids if not (skips and user_id in conflicts)]
            changed = sum(change(user_id, segment) for user_id in set(left))
            counts = {"received": len(user_ids), "changed": changed}
            counts |= {"unchanged": len(left) - changed}
            counts |= {"skipped": len(user_ids) - len(left)} if skips else {}
            assert answer == counts
        elif refused == 409:
            lines = {int(error["pointer"].removeprefix("#row=")) for error in answer["errors"]}
            assert lines
            assert all(user_ids[line - 1] in conflicts for line in lines)

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
            for slugs in expected:
                layers = [s.layer_at(told) for s in self.model.segments if s.slug in slugs]
                assert all(layers.count(layer) == 1 for layer in layers if layer)

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
            for slug in NAMES:
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
