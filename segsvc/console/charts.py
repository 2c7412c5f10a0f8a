"""Pictures as SVG, drawn on the server: the size of a segment, and the stays of a user."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import ceil, floor, log10

from segsvc.api.segments.percentages import Step
from segsvc.api.segments.stats import Stats
from segsvc.http.fields import LATEST

WIDTH, HEIGHT = 960, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 28
ROW = 26

# Segments of a picture: those that a user entered last.
MOST_ROWS = 40

# The longest bar of those who joined or left.
FLOW = 44


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    place: float
    label: str


@dataclass(frozen=True)
class Column:
    """A step of a chart: where it is, what happened in it, and the points above it."""

    x: float
    width: float
    total: float
    by_hand: float
    joined: float
    left: float
    stats: Stats

    @property
    def middle(self) -> float:
        """The middle, where the lines pass."""
        return round(self.x + self.width / 2, 1)

    @property
    def bar_width(self) -> float:
        """The width of the bars: with a gap between two, and not wide if there are few."""
        return round(min(self.width * 0.7, 26), 1)

    @property
    def bar_x(self) -> float:
        """Where the bars begin."""
        return round(self.x + (self.width - self.bar_width) / 2, 1)


@dataclass(frozen=True)
class SizeChart:
    """The size of a segment: two lines over time, and who joined and left below."""

    columns: list[Column]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    flow_ticks: list[Tick]
    total: str
    by_hand: str
    zero: float
    width: int = WIDTH
    height: int = HEIGHT + 110


def size_chart(stats: Sequence[Stats]) -> SizeChart:
    """Return the chart of some steps."""
    top = nice(max((each.members for each in stats), default=0))
    flow = nice(max((max(each.joined, each.left) for each in stats), default=0))
    step = (WIDTH - LEFT - RIGHT) / max(len(stats), 1)
    floor_y, zero = HEIGHT - BOTTOM, HEIGHT + 55

    def y(value: float) -> float:
        return round(floor_y - value / top * (floor_y - TOP), 1)

    columns = [
        Column(
            x=round(LEFT + place * step, 1),
            width=round(step, 1),
            total=y(each.members),
            by_hand=y(each.by_hand),
            joined=round(each.joined / flow * FLOW, 1),
            left=round(each.left / flow * FLOW, 1),
            stats=each,
        )
        for place, each in enumerate(stats)
    ]
    every = ceil(len(stats) / 8) or 1
    return SizeChart(
        columns=columns,
        x_ticks=[Tick(c.middle, f"{c.stats.at:%d.%m}") for c in columns[::every]],
        y_ticks=[Tick(y(top * part / 4), f"{top * part / 4:,.0f}") for part in range(5)],
        flow_ticks=[Tick(zero - FLOW, f"+{flow:,}"), Tick(zero + FLOW, f"-{flow:,}")],
        total=_line(columns, [c.total for c in columns]),
        by_hand=_line(columns, [c.by_hand for c in columns]),
        zero=zero,
    )


def _line(columns: Sequence[Column], heights: Iterable[float]) -> str:
    """Return the path through the middle of some columns."""
    points = [f"{c.middle},{height}" for c, height in zip(columns, heights, strict=True)]
    return "M" + "L".join(points) if points else ""


def nice(value: float) -> int:
    """Return a round number that is not below a value, and divides by four: 4, 8, 20, 40, ..."""
    if value <= 4:  # noqa: PLR2004 (see above)
        return 4
    scale = 10 ** floor(log10(value))
    return next(
        int(n * scale) for n in (1, 2, 4, 8, 10, 20) if n * scale >= value and n * scale % 4 == 0
    )


@dataclass(frozen=True)
class Stay:
    """A user is in a segment from one time to another; None: with no end so far."""

    slug: str
    start: datetime
    end: datetime | None
    cause: str
    end_cause: str | None = None
    planned: bool = False


@dataclass(frozen=True)
class Bar:
    """A stay as drawn: `ahead` is the width of what lies after now."""

    x: float
    width: float
    ahead: float
    stay: Stay


@dataclass(frozen=True)
class Row:
    """The stays of a user in one segment."""

    slug: str
    y: int
    bars: list[Bar]


@dataclass(frozen=True)
class Timeline:
    """The stays of a user, one row a segment, and where now is."""

    rows: list[Row]
    ticks: list[Tick]
    now: float
    height: int
    left: int = 190
    width: int = WIDTH


def timeline(stays: Sequence[Stay], now: datetime) -> Timeline:
    """Return the picture of some stays, from the first one to now, or to the last planned end."""
    left = Timeline.left
    start = min((stay.start for stay in stays), default=now - timedelta(days=1))
    last = max((stay.end or stay.start for stay in stays), default=now)
    span = max(now, last) - min(start, now)
    start, end = min(start, now) - span * 0.01, max(now, last) + span * 0.06
    if start == end:
        start, end = now - timedelta(hours=1), now + timedelta(hours=1)

    def x(at: datetime) -> float:
        return round(left + (at - start) / (end - start) * (WIDTH - left - RIGHT), 1)

    latest = {stay.slug: stay.start for stay in sorted(stays, key=lambda stay: stay.start)}
    slugs = sorted(sorted(latest, key=lambda slug: latest[slug], reverse=True)[:MOST_ROWS])
    rows = [
        Row(
            slug,
            number * ROW,
            [
                _bar(stay, x(stay.start), x(stay.end or end), x(now))
                for stay in stays
                if stay.slug == slug
            ],
        )
        for number, slug in enumerate(slugs)
    ]
    return Timeline(rows, _time_ticks(start, end, x), x(now), len(rows) * ROW + 24)


def _bar(stay: Stay, start: float, end: float, now: float) -> Bar:
    """Return the bar between two places, two units wide at least."""
    width = max(end - start, 2)
    ahead = 0 if stay.planned else max(0, start + width - max(start, now))
    return Bar(start, round(width - ahead, 1), round(ahead, 1), stay)


def _time_ticks(start: datetime, end: datetime, x: Callable[[datetime], float]) -> list[Tick]:
    """Return some six marks between two times, at round ones."""
    units = [timedelta(minutes=n) for n in (1, 5, 15)]
    units += [timedelta(hours=n) for n in (1, 3, 6, 12)]
    units += [timedelta(days=n) for n in (1, 2, 7, 14, 30, 91, 182, 365, 1826, 3652, 7305)]
    unit = next((each for each in units if (end - start) / each <= 7), units[-1])  # noqa: PLR2004
    day = timedelta(days=1)
    origin = datetime(2024, 1, 1, tzinfo=UTC)
    first = origin + ceil((start - origin) / unit) * unit
    style = "%Y" if unit > 400 * day else "%d.%m.%y" if unit >= day else "%d.%m %H:%M"
    count = max(0, floor((end - first) / unit) + 1)
    return [Tick(x(first + n * unit), f"{first + n * unit:{style}}") for n in range(count)]


def stays_of(
    events: Iterable[tuple[datetime, str, str, str]], ends: Mapping[str, datetime | None]
) -> list[Stay]:
    """Return the stays that events make: time, slug, operation and cause, in the order of time.

    `ends` are those of the stays that go on.
    """
    stays: list[Stay] = []
    under_way: dict[str, tuple[datetime, str]] = {}
    for at, slug, operation, cause in events:
        if operation == "add":
            under_way[slug] = (at, cause)
        elif slug in under_way:
            start, began = under_way.pop(slug)
            stays.append(Stay(slug, start, at, began, cause))
    stays += [Stay(slug, at, ends.get(slug), cause) for slug, (at, cause) in under_way.items()]
    return sorted(stays, key=lambda stay: (stay.slug, stay.start))


@dataclass(frozen=True)
class PlanChart:
    """The percentage of a segment from now on: a line with a mark at each step."""

    line: str
    marks: list[tuple[float, float, Step]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    end: float | None
    width: int = WIDTH
    height: int = 200


def plan_chart(
    percent: Decimal | None, steps: Sequence[Step], now: datetime, ends_at: datetime | None
) -> PlanChart:
    """Return the picture of a plan; a manual segment has a percentage of 0."""
    height = PlanChart.height
    last = max([step.at for step in steps] + ([ends_at] if ends_at else []), default=now)
    span = max(last - now, timedelta(hours=1))
    start, end = now, min(last, LATEST - span) + span * 0.08

    def x(at: datetime) -> float:
        return round(LEFT + (at - start) / (end - start) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: Decimal | None) -> float:
        return round(height - BOTTOM - float(value or 0) / 100 * (height - BOTTOM - TOP), 1)

    marks = [(x(step.at), y(step.percent), step) for step in steps if step.at >= now]
    line = f"M{LEFT},{y(percent)}" + "".join(f"H{across}V{up}" for across, up, _ in marks)
    stop = x(ends_at) if ends_at else None
    return PlanChart(
        line=f"{line}H{stop or WIDTH - RIGHT}",
        marks=marks,
        x_ticks=_time_ticks(start, end, x),
        y_ticks=[Tick(y(Decimal(value)), f"{value} %") for value in (0, 25, 50, 75, 100)],
        end=stop,
    )
