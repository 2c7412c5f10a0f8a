"""The rule of membership, written straight from the design, over lists in memory.

Times are numbers: hours, and between the hours a millionth for each thing that happened.
"""

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from math import floor, inf

TICK = 1e-6


@dataclass
class Segment:
    slug: str
    created_at: float
    deleted_at: float = inf
    # The percentage from a time on; None: manual.
    steps: list[tuple[float, Decimal | None]] = field(default_factory=list)

    def percent_at(self, t: float) -> Decimal | None:
        return next((percent for at, percent in reversed(self.steps) if at <= t), None)

    def plan(self, now: float) -> list[tuple[float, Decimal | None]]:
        """Return the steps after `now` that change the percentage."""
        percent, plan = self.percent_at(now), []
        for at, next_percent in self.steps:
            if at > now and next_percent != percent:
                plan.append((at, next_percent))
                percent = next_percent
        return plan


@dataclass
class Period:
    user_id: int
    segment: Segment
    included: bool
    valid_from: float
    valid_to: float
    planned: bool = False


class Model:
    """What the service should answer."""

    def __init__(self) -> None:
        self.now = 1.0
        self.segments: list[Segment] = []
        self.first_seen_at: dict[int, float] = {}
        self.periods: list[Period] = []

    def tick(self) -> float:
        self.now += TICK
        return self.now

    # What is asked of the service.

    def live(self, slug: str) -> Segment | None:
        return next((s for s in self.segments if s.slug == slug and s.deleted_at > self.now), None)

    def create(self, slug: str, percent: Decimal | None) -> None:
        segment = Segment(slug, self.tick())
        self.segments.append(segment)
        segment.steps.append((self.now, percent))

    def delete(self, segment: Segment) -> None:
        segment.deleted_at = self.tick()

    def set_end(self, segment: Segment, hours: float) -> bool:
        """Plan the end; return whether the plan of the percentage allows it."""
        ends_at = self.tick() + hours
        if any(at >= ends_at for at, _ in segment.plan(self.now)):
            return False
        segment.deleted_at = ends_at
        return True

    def starts_in_time(self, segment: Segment, delay: float) -> bool:
        """Return whether what begins in `delay` hours begins before the end of a live segment."""
        return delay == 0 or self.now + delay < segment.deleted_at

    def set_percent(self, segment: Segment, percent: Decimal | None, *, keep: bool) -> None:
        now = self.tick()
        kept = segment.plan(now) if keep else []
        past = [step for step in segment.steps if step[0] <= now]
        segment.steps = [*past, (now, percent), *kept]

    def set_plan(self, segment: Segment, steps: list[tuple[int, Decimal | None]]) -> None:
        now = self.tick()
        past = [step for step in segment.steps if step[0] <= now]
        segment.steps = past + [(now + hours, percent) for hours, percent in steps]

    def know(self, user_id: int) -> None:
        self.first_seen_at.setdefault(user_id, self.tick())

    def add(self, user_id: int, segment: Segment, hours: float, delay: float = 0) -> bool:
        """Put a user in, now or later; return whether that changed anything."""
        start = self.tick() + delay
        replaced = self.cancel(user_id, segment, start)
        current = self.current(user_id, segment, start)
        if current and current.included:
            changed = replaced or current.valid_to != start + hours
            current.valid_to = start + hours
            return changed
        if current:
            current.valid_to = start
        self.periods.append(Period(user_id, segment, True, start, start + hours, delay > 0))
        return True

    def remove(self, user_id: int, segment: Segment) -> bool:
        """Take a user out; return whether that changed anything."""
        now = self.tick()
        replaced = self.cancel(user_id, segment, now)
        current = self.current(user_id, segment, now)
        automatic = segment.percent_at(now) is not None
        if current and not current.included:
            changed = replaced or current.valid_to != inf
            current.valid_to = inf
            return changed
        if current:
            current.valid_to = now
        if current or automatic:
            self.periods.append(Period(user_id, segment, False, now, inf))
        return replaced or current is not None or automatic

    def cancel(self, user_id: int, segment: Segment, start: float) -> bool:
        """Drop what is planned from `start` on; return whether there was anything."""
        plans = [p for p in self.planned(user_id) if p.segment is segment and p.valid_from >= start]
        self.periods = [p for p in self.periods if not any(p is plan for plan in plans)]
        return bool(plans)

    def planned(self, user_id: int) -> list[Period]:
        """Return what has not started."""
        return [
            p
            for p in self.periods
            if p.user_id == user_id and p.planned and p.valid_from > self.now
        ]

    # The rule.

    def current(self, user_id: int, segment: Segment, t: float) -> Period | None:
        covering = [
            p
            for p in self.periods
            if p.user_id == user_id and p.segment is segment and p.valid_from <= t < p.valid_to
        ]
        assert len(covering) <= 1
        return covering[0] if covering else None

    def is_in(self, user_id: int, segment: Segment, t: float) -> bool:
        if not segment.created_at <= t < segment.deleted_at:
            return False
        current = self.current(user_id, segment, t)
        if current:
            return current.included
        percent = segment.percent_at(t)
        known = self.first_seen_at.get(user_id, inf) <= t
        return known and percent is not None and point(segment.slug, user_id) < threshold(percent)

    def slugs(self, user_id: int, t: float) -> list[str]:
        return sorted(s.slug for s in self.segments if self.is_in(user_id, s, t))

    def events(self, user_id: int) -> list[tuple[str, str]]:
        """Return slug and operation of each event until now, found by trying every bound."""
        bounds = {x for s in self.segments for x in (s.created_at, s.deleted_at)}
        bounds |= {at for s in self.segments for at, _ in s.steps}
        bounds |= {x for p in self.periods for x in (p.valid_from, p.valid_to)}
        bounds |= set(self.first_seen_at.values())
        found = []
        before: set[str] = set()
        for bound in sorted(x for x in bounds if x <= self.now):
            after = set(self.slugs(user_id, bound))
            found += [(slug, "add") for slug in sorted(after - before)]
            found += [(slug, "remove") for slug in sorted(before - after)]
            before = after
        return found


def point(slug: str, user_id: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{slug}:{user_id}".encode()).digest()[:4], "big")


def threshold(percent: Decimal) -> int:
    return floor(percent * 2**32 / 100)
