"""The rule of membership, written straight from the design, over lists in memory.

Times are numbers: hours, and between the hours a millionth for each thing that happened.
"""

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from math import floor, inf

TICK = 1e-6


# Half-open ranges of points.
Ranges = list[tuple[int, int]]


@dataclass
class Step:
    """The percentage from a time on; None: manual. By a salt, it has these points."""

    at: float
    percent: Decimal | None
    salt: str
    points: Ranges

    def admits(self, user_id: int) -> bool:
        place = point(self.salt, user_id)
        return any(lower <= place < upper for lower, upper in self.points)


@dataclass
class Layer:
    slug: str


@dataclass
class Segment:
    slug: str
    created_at: float
    deleted_at: float = inf
    steps: list[Step] = field(default_factory=list)
    # In which layer, from when to when.
    layers: list[tuple[Layer, float, float]] = field(default_factory=list)

    def step_at(self, t: float) -> Step | None:
        return next((step for step in reversed(self.steps) if step.at <= t), None)

    def percent_at(self, t: float) -> Decimal | None:
        step = self.step_at(t)
        return step.percent if step else None

    def plan(self, now: float) -> list[Step]:
        """Return the steps after `now` that change the percentage."""
        percent, plan = self.percent_at(now), []
        for step in self.steps:
            if step.at > now and step.percent != percent:
                plan.append(step)
                percent = step.percent
        return plan

    def ahead(self, now: float) -> list[Step]:
        """Return the percentage in force and what follows, without the times of no percentage."""
        steps = [self.step_at(now), *self.plan(now)]
        return [step for step in steps if step and step.percent is not None]

    def new_step(self, at: float, percent: Decimal | None) -> Step:
        """Return a step as it is outside a layer."""
        return Step(at, percent, self.slug, [(0, threshold(percent))] if percent else [])

    def layer_at(self, t: float) -> Layer | None:
        if not self.created_at <= t < self.deleted_at:
            return None
        return next((layer for layer, start, end in self.layers if start <= t < end), None)

    def leave(self, now: float) -> None:
        self.layers = [(layer, start, min(end, now)) for layer, start, end in self.layers]

    def together(self, other: "Segment") -> list[tuple[float, float]]:
        """Return when both are in one layer."""
        last = min(self.deleted_at, other.deleted_at)
        spans = [
            (max(start, other_start), min(end, other_end, last))
            for layer, start, end in self.layers
            for other_layer, other_start, other_end in other.layers
            if layer is other_layer and other is not self
        ]
        return [(start, end) for start, end in spans if start < end]


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
        # The live ones.
        self.layers: dict[str, Layer] = {}
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
        segment.steps.append(segment.new_step(self.now, percent))

    def delete(self, segment: Segment) -> None:
        segment.deleted_at = self.tick()

    def set_end(self, segment: Segment, hours: float) -> bool:
        """Plan the end; return whether the plan of the percentage allows it."""
        ends_at = self.tick() + hours
        if any(step.at >= ends_at for step in segment.plan(self.now)):
            return False
        segment.deleted_at = ends_at
        return True

    def starts_in_time(self, segment: Segment, delay: float) -> bool:
        """Return whether what begins in `delay` hours begins before the end of a live segment."""
        return delay == 0 or self.now + delay < segment.deleted_at

    def set_percent(self, segment: Segment, percent: Decimal | None, *, keep: bool) -> None:
        now = self.tick()
        kept = segment.plan(now) if keep else []
        past = [step for step in segment.steps if step.at <= now]
        segment.steps = [*past, segment.new_step(now, percent), *kept]

    def set_plan(self, segment: Segment, steps: list[tuple[int, Decimal | None]]) -> None:
        now = self.tick()
        past = [step for step in segment.steps if step.at <= now]
        planned = [segment.new_step(now + hours, percent) for hours, percent in steps]
        segment.steps = past + planned

    def enter(self, segment: Segment, layer: Layer | None, now: float) -> None:
        """Put a segment into a layer, or out of its own; its points are dealt anew from now on."""
        segment.leave(now)
        if layer:
            segment.layers.append((layer, now, inf))
        past = [step for step in segment.steps if step.at <= now]
        ahead = [segment.new_step(now, segment.percent_at(now))]
        ahead += [segment.new_step(step.at, step.percent) for step in segment.plan(now)]
        segment.steps = past + ahead

    def know(self, user_id: int) -> None:
        self.first_seen_at.setdefault(user_id, self.tick())

    def conflicts(self, user_id: int, segment: Segment, start: float, end: float) -> list[Period]:
        """Return the included periods in other segments of the layer between two times."""
        return [
            p
            for p in self.periods
            if p.user_id == user_id
            and p.included
            and any(
                max(start, since, p.valid_from) < min(end, until, p.valid_to)
                for since, until in segment.together(p.segment)
            )
        ]

    def add(
        self,
        user_id: int,
        segment: Segment,
        hours: float,
        delay: float = 0,
        *,
        now: float | None = None,
        moves: bool = False,
    ) -> bool:
        """Put a user in, now or later; return whether that changed anything."""
        now = now or self.tick()
        start = now + delay
        met = self.conflicts(user_id, segment, start, start + hours)
        replaced = self.cancel(user_id, segment, start)
        current = self.current(user_id, segment, start)
        suspended = current and current.included and self.suspended(current, start)
        changed = True
        if current and current.included and not suspended:
            changed = replaced or current.valid_to != start + hours
            current.valid_to = start + hours
        else:
            if current:
                current.valid_to = start
            self.periods.append(Period(user_id, segment, True, start, start + hours, delay > 0))
        if moves:
            for period in met:
                self.move(period, start, now)
        return changed

    def move(self, period: Period, start: float, now: float) -> None:
        """End a period because its user moves to another segment of the layer."""
        if period.planned and period.valid_from > now and period.valid_from >= start:
            self.periods = [p for p in self.periods if p is not period]
            for p in self.periods:
                same = (p.user_id, p.segment) == (period.user_id, period.segment)
                if same and not p.included and p.valid_to == period.valid_from:
                    p.valid_to = period.valid_to
        else:
            period.valid_to = start

    def remove(self, user_id: int, segment: Segment, now: float | None = None) -> bool:
        """Take a user out; return whether that changed anything."""
        now = now or self.tick()
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

    def elsewhere(self, user_id: int, segment: Segment, t: float) -> list[Period]:
        """Return the included periods in other live segments of the layer."""
        layer = segment.layer_at(t)
        others = [s for s in self.segments if layer and s is not segment and s.layer_at(t) is layer]
        periods = [self.current(user_id, other, t) for other in others]
        return [p for p in periods if p and p.included]

    def suspended(self, period: Period, t: float) -> bool:
        """Return whether one of them began later; of two at once, the higher id is later."""

        def began(p: Period) -> tuple[float, int]:
            return p.valid_from, next(i for i, s in enumerate(self.segments) if s is p.segment)

        others = self.elsewhere(period.user_id, period.segment, t)
        return any(began(other) > began(period) for other in others)

    def is_in(self, user_id: int, segment: Segment, t: float) -> bool:
        if not segment.created_at <= t < segment.deleted_at:
            return False
        current = self.current(user_id, segment, t)
        if current:
            return current.included and not self.suspended(current, t)
        if self.elsewhere(user_id, segment, t) or not self.first_seen_at.get(user_id, inf) <= t:
            return False
        step = segment.step_at(t)
        return step is not None and step.admits(user_id)

    def slugs(self, user_id: int, t: float) -> list[str]:
        return sorted(s.slug for s in self.segments if self.is_in(user_id, s, t))

    def events(self, user_id: int) -> list[tuple[str, str]]:
        """Return slug and operation of each event until now, found by trying every bound."""
        bounds = {x for s in self.segments for x in (s.created_at, s.deleted_at)}
        bounds |= {step.at for s in self.segments for step in s.steps}
        bounds |= {x for s in self.segments for _, *span in s.layers for x in span}
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


def within(part: tuple[int, int], ranges: Ranges) -> bool:
    return any(lower <= part[0] and part[1] <= upper for lower, upper in ranges)
