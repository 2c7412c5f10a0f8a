"""Fill an empty database with a year of history, to look around in the console.

    SEGSVC_DATA_DIR=.demo segsvc migrate
    SEGSVC_DATA_DIR=.demo python demo.py

`make demo` does that, and serves the database. The API cannot write into the past, so the rows are
made here, as the service would have written them, and copied into the tables in one transaction.
The history is the same on each run, up to the present time.
"""

import json
import time
from bisect import bisect
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import chain
from operator import itemgetter
from random import Random
from typing import Any

import click
from asyncpg import Range

from segsvc.api.segments import points
from segsvc.api.segments.percentages import Step
from segsvc.api.segments.states import State
from segsvc.cli.database import run_connected
from segsvc.db import clock
from segsvc.db.pool import Connection
from segsvc.db.values import rfc3339

# A row of a table by the names of its columns, and days, counted from today or from a start.
Row = dict[str, Any]
Days = int

TABLES = ("segment", "layer", "layer_segment", "rollout", "users", "membership", "audit")
NO_END = datetime.max.replace(tzinfo=UTC)  # infinity in PostgreSQL
USER = 1000  # has something of everything
VOICE, VAS, GIFT = "VOICE_MESSAGES", "PERFORMANCE_VAS", "WELCOME_GIFT"
THIRTY, FIFTY = "DISCOUNT_30", "DISCOUNT_50"
SEED = 1
WEEKEND = (5, 6)


class History:
    """The rows that the service has after some requests, which come in the order of time.

    `now` and `actor` are the time of a request and the name of its API key.
    """

    def __init__(self, users: int, now: datetime, rng: Random) -> None:
        """Begin with so many users, who become known in the year that ends now."""
        self.now, self.actor, self.rng = now, "", rng
        self.tables: dict[str, list[Row]] = {table: [] for table in TABLES}
        self.states: dict[str, State] = {}  # of live segments
        self.segments: dict[str, Row] = {}
        self.layers: dict[str, Row] = {}  # those of segments
        self.rollouts: dict[str, list[Row]] = {}  # of each segment, the newest first
        self.periods: dict[str, dict[int, Row]] = {}  # the last one of a user in a segment
        self.user_ids = [USER, *(number for number in range(1, users + 1) if number != USER)]
        self.first_seen = first_times(users, now, rng)
        for user_id, at in zip(self.user_ids, self.first_seen, strict=True):
            self.write("users", id=user_id, first_seen_at=at)

    def write(self, table: str, **columns: Any) -> Row:
        """Write a row, and return it, to be changed later."""
        self.tables[table].append(columns)
        return columns

    def open(self, table: str, slug: str, start: datetime, end: datetime, **columns: Any) -> Row:
        """Write a row that holds for a segment from a start to an end, and return it."""
        columns |= {"segment_id": self.segments[slug]["id"], "valid_from": start, "valid_to": end}
        ended_by = self.actor if end < NO_END else None
        return self.write(table, **columns, opened_by=self.actor, closed_by=ended_by)

    def close(self, row: Row, end: datetime) -> None:
        """Set the end of a row."""
        row |= {"valid_to": end, "closed_by": self.actor if end < NO_END else None}

    def record(self, action: str, slug: str, details: Row) -> None:
        """Record a request in the audit log; what has the same time is one request."""
        request_id = f"{Random(str(self.now)).getrandbits(64):016x}"  # noqa: S311 (no secret)
        written = {"at": self.now, "actor": self.actor, "request_id": request_id}
        self.write("audit", **written, action=action, slug=slug, details=json.dumps(details))

    def create(self, slug: str, description: str) -> None:
        """Create a manual segment."""
        self.segments[slug] = self.write(
            "segment",
            id=len(self.segments) + 1,
            slug=slug,
            description=description,
            created_at=self.now,
            deleted_at=NO_END,
            created_by=self.actor,
            deleted_by=None,
        )
        self.states[slug] = State(description, None, [], None, None)
        self.rollouts[slug], self.periods[slug] = [], {}
        self.record("segment.create", slug, {"after": self.states[slug].shown()})

    def delete(self, slug: str) -> None:
        """Delete a segment that is in no layer."""
        self.record("segment.delete", slug, {"before": self.states.pop(slug).shown()})
        self.segments[slug] |= {"deleted_at": self.now, "deleted_by": self.actor}
        for row in self.rollouts[slug][:1]:
            self.close(row, self.now)

    def change(self, slug: str, **changes: Any) -> None:
        """Change the state of a segment, and record what is different."""
        before, self.states[slug] = self.states[slug], replace(self.states[slug], **changes)
        old, new = before.shown(), self.states[slug].shown()
        names = [name for name in old if old[name] != new[name]]
        states = {"before": old, "after": new}.items()
        details = {when: {name: state[name] for name in names} for when, state in states}
        self.record("segment.change", slug, details)

    def set_percent(self, slug: str, percent: int) -> None:
        """Let a percentage of all users in from now on."""
        self.change(slug, percent=Decimal(percent))
        self.set_steps(slug, [Step(self.now, Decimal(percent))])

    def plan(self, slug: str, percents: dict[Days, int]) -> None:
        """Plan percentages for nine o'clock in the morning, so many days ahead."""
        nine = midnight(self.now) + timedelta(hours=9)
        steps = [Step(nine + timedelta(days), Decimal(each)) for days, each in percents.items()]
        self.change(slug, plan=steps)
        self.set_steps(slug, steps)

    def set_steps(self, slug: str, steps: list[Step]) -> None:
        """Replace the percentages of a segment from the first step on."""
        own, layer = self.rollouts[slug], self.layers.get(slug)
        for row in own[:1]:
            self.close(row, steps[0].at)
        ends = [step.at for step in steps[1:]] + [NO_END]
        for step, end in zip(steps, ends, strict=True):
            count = points.count_of(step.percent)
            share = points.lowest(count)
            columns: Row = {"layer_id": None, "salt": slug}
            if layer:
                columns = {"layer_id": layer["id"], "salt": layer["salt"]}
                mine = [row for row in own if row["layer_id"] == layer["id"]]
                others = [self.rollouts[other][:1] for other in self.layers if other != slug]
                owned = [points.of_ranges(row["points"]) for row in mine]
                taken = points.union(*(points.of_ranges(row["points"]) for row in chain(*others)))
                share = points.resized(owned, count, taken, taken)
            columns |= {"percent": step.percent, "planned": step.at > self.now}
            columns["points"] = [Range(*bounds) for bounds in share]
            own.insert(0, self.open("rollout", slug, step.at, end, **columns))

    def form_layer(self, layer: str, slugs: list[str]) -> None:
        """Form the only layer. The first automatic segment gives the salt: its users stay."""
        automatic = [slug for slug in slugs if self.rollouts[slug]]
        salt, made = [*automatic, layer][0], {"created_at": self.now, "created_by": self.actor}
        row = self.write("layer", id=1, slug=layer, salt=salt, **made)
        for slug in sorted(slugs):
            self.open("layer_segment", slug, self.now, NO_END, layer_id=row["id"])
            self.change(slug, layer=layer)
            self.layers[slug] = row
        for slug in automatic:
            self.set_steps(slug, [Step(self.now, self.states[slug].percent)])
        self.record("layer.create", layer, {"after": {"segments": sorted(slugs)}})

    def is_in(self, slug: str, user_id: int) -> bool:
        """Return whether a user is in a segment by hand, or is planned to be."""
        period = self.periods[slug].get(user_id)
        return period is not None and period["included"] and period["valid_to"] > self.now

    def put(
        self,
        slug: str,
        user_id: int,
        days: Days | None = None,
        start: Days = 0,
        *,
        included: bool = True,
    ) -> bool:
        """Add a user to a segment, now or later, for some days or for ever, or remove the user.

        Return whether that changes something. The header of sql/users/change.sql has the cases;
        here, to add a user who is in already changes no end.
        """
        valid_from = self.now + timedelta(start)
        valid_to = NO_END if days is None else valid_from + timedelta(days)
        current = self.periods[slug].get(user_id)
        if current is None or current["valid_to"] <= valid_from:
            if not included and self.states[slug].percent is None:
                return False
        elif current["included"] == included:
            return False
        else:
            self.close(current, valid_from)
            current["removed"] = not included
        columns = {"user_id": user_id, "included": included, "removed": False, "planned": start > 0}
        row = self.open("membership", slug, valid_from, valid_to, **columns)
        self.periods[slug][user_id] = row
        return True

    def add_file(self, slug: str, share: float, days: Days | None = None, start: Days = 0) -> None:
        """Add a share of the known users: those of them who are not in the segment by hand."""
        chosen = [user_id for user_id in self.sample(share) if not self.is_in(slug, user_id)]
        details: Row = {"from": "file", "received": len(chosen)}
        if start:
            details["starts_at"] = rfc3339(self.now + timedelta(start))
        if days:
            details["ttl"] = days * 86400
        details["added"] = sum([self.put(slug, user_id, days, start) for user_id in chosen])
        details["removed"] = 0
        if slug in self.layers:
            details |= {"on_conflict": "suspend", "skipped": 0}
        self.record("members.add", slug, details)

    def add_one(self, slug: str) -> None:
        """Add one of the known users."""
        self.put(slug, self.sample(0)[0])

    def remove_file(self, slug: str, share: float) -> None:
        """Remove a share of the known users: whom the segment has by hand, or all if automatic."""
        automatic = self.states[slug].percent is not None
        chosen = [each for each in self.sample(share) if automatic or self.is_in(slug, each)]
        removed = sum([self.put(slug, user_id, included=False) for user_id in chosen])
        counts = {"received": len(chosen), "added": 0, "removed": removed}
        self.record("members.remove", slug, {"from": "file", **counts})

    def sample(self, share: float) -> list[int]:
        """Return a share of the users known by now, at least one, and never the first one."""
        known = self.user_ids[1 : bisect(self.first_seen, self.now)]
        return self.rng.sample(known, max(1, round(share * len(known))))


def first_times(count: int, now: datetime, rng: Random) -> list[datetime]:
    """Return when users became known, in order: many at first, then more by the day.

    The evenings have more of them than the mornings, and weekends have fewer than other days.
    """
    today, days = midnight(now), range(-364, 1)
    weights = [
        (1 + n / 250 + 30 * 0.7**n) * (0.6 if (today + timedelta(day)).weekday() in WEEKEND else 1)
        for n, day in enumerate(days)
    ]
    found = (
        today + timedelta(day, hours=rng.triangular(6, 24, 19))
        for day in rng.choices(days, weights, k=count)
    )
    return sorted(at - timedelta(7) if at > now else at for at in found)


def year_of(history: History) -> Iterable[tuple[Days, str, Callable[[], object]]]:
    """Yield the requests of the year: the day, the name of the API key, and what to do."""
    h = history
    yield -350, "ann", partial(h.create, VOICE, "Voice messages in chats")
    yield -345, "boris", partial(h.add_file, VOICE, 0.15)
    for day, percent in ((-300, 1), (-240, 5), (-150, 10), (-60, 25)):
        yield day, "ann", partial(h.set_percent, VOICE, percent)
    yield -90, "olga", partial(h.remove_file, VOICE, 0.01)
    yield -3, "ann", partial(h.plan, VOICE, {14: 50, 28: 100})

    yield -330, "boris", partial(h.create, VAS, "Promotion for sellers, paid by the month")
    for day in range(-325, 0, 30):
        yield day, "boris", partial(h.add_file, VAS, 0.1, 75)
        yield day + 9, "boris", partial(h.remove_file, VAS, 0.2)
    yield -2, "boris", partial(h.add_file, VAS, 0.01, 30, 8)

    yield -200, "olga", partial(h.create, GIFT, "A gift for the first order")
    yield -199, "olga", partial(h.set_percent, GIFT, 50)
    yield -140, "ann", partial(h.delete, GIFT)

    yield -280, "olga", partial(h.create, THIRTY, "30 % off the price of promotion")
    yield -279, "olga", partial(h.add_file, THIRTY, 0.08)
    yield -270, "olga", partial(h.create, FIFTY, "50 % off the price of promotion")
    yield -210, "olga", partial(h.set_percent, THIRTY, 10)
    yield -120, "ann", partial(h.form_layer, "DISCOUNTS", [THIRTY, FIFTY])
    yield -101, "olga", partial(h.set_percent, FIFTY, 10)
    yield -75, "olga", partial(h.set_percent, THIRTY, 30)
    yield -60, "ann", partial(h.remove_file, THIRTY, 0.02)
    yield -45, "olga", partial(h.set_percent, FIFTY, 20)
    for day in range(-265, 0, 16):
        yield day, "olga", partial(h.add_file, FIFTY, 0.02, 2)
    yield -1, "olga", partial(h.add_file, FIFTY, 0.01, 2, 5)

    for _ in range(len(h.user_ids) // 50):
        yield h.rng.randrange(-340, -5), "olga", partial(h.add_one, VOICE)

    yield -310, "olga", partial(h.put, VOICE, USER, 30)
    yield -80, "ann", partial(h.put, VOICE, USER)
    yield -250, "boris", partial(h.put, VAS, USER)
    yield -190, "olga", partial(h.put, VAS, USER, included=False)
    yield -30, "boris", partial(h.put, VAS, USER, 42)
    yield -1, "boris", partial(h.put, VAS, USER, 30, 20)
    yield -110, "olga", partial(h.put, THIRTY, USER)
    yield -55, "olga", partial(h.put, FIFTY, USER, 2)
    yield -1, "olga", partial(h.put, FIFTY, USER, 3)


def make_history(users: int, now: datetime) -> History:
    """Return the history of the year that ends now."""
    rng = Random(SEED)  # noqa: S311 (the same on each run)
    history = History(users, now, rng)
    requests = [
        (midnight(now) + timedelta(day, hours=rng.uniform(9, 18)), actor, request)
        for day, actor, request in year_of(history)
    ]
    for history.now, history.actor, request in sorted(requests, key=itemgetter(0)):
        request()
    return history


def midnight(at: datetime) -> datetime:
    """Return the start of a day in UTC."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


async def seed(conn: Connection, users: int, *, if_empty: bool) -> None:
    """Copy the rows of a history into the tables, all or none.

    Raises:
        ClickException: there are segments or users already, and that is not allowed.
    """
    started = time.monotonic()
    async with conn.transaction():
        # Writers wait: nothing appears between the look and the copy.
        await conn.execute("LOCK TABLE segment, users IN EXCLUSIVE MODE")
        if await conn.fetchval("SELECT EXISTS (SELECT FROM segment) OR EXISTS (SELECT FROM users)"):
            if if_empty:
                print("the database has a history already: it stays as it is")
                return
            raise click.ClickException(
                "the database has segments or users already, and nothing was changed:"
                " give an empty one, such as that of another SEGSVC_DATA_DIR"
            )
        print(f"making a year of history with {users} users ...", flush=True)
        now = await clock.now(conn)
        for table, rows in make_history(users, now).tables.items():
            print(f"writing {len(rows)} rows of {table} ...", flush=True)
            records = [tuple(row.values()) for row in rows]
            await conn.copy_records_to_table(table, records=records, columns=list(rows[0]))
        for table in ("segment", "layer"):  # whose ids were given
            last = f"pg_get_serial_sequence('{table}', 'id'), max(id)"
            await conn.execute(f"SELECT setval({last}) FROM {table}")  # noqa: S608 (names above)
    await conn.execute(f"VACUUM (ANALYZE) {', '.join(TABLES)}")
    print(f"done in {time.monotonic() - started:.0f} s; user {USER} has something of everything")


@click.command()
@click.option("--users", type=click.IntRange(USER), default=50_000, show_default=True)
@click.option("--if-empty", is_flag=True, help="Do nothing if there is a history already.")
def main(*, users: int, if_empty: bool) -> None:
    """Fill an empty database with a year of history."""
    run_connected(partial(seed, users=users, if_empty=if_empty), "serve")


if __name__ == "__main__":
    main()
