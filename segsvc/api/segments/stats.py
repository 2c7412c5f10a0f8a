"""The size of a segment over time, and who joined and left it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from segsvc.api.segments.store import find
from segsvc.db import clock
from segsvc.db.pool import Connection
from segsvc.db.sql import statement

LIST_STATS = statement("segments/list_stats")

MAX_STEPS = 1000

# Steps without a start.
USUAL_STEPS = 30


class Interval(StrEnum):
    """A step of time, which begins when it does in UTC; weeks begin on Monday."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return timedelta(**{f"{self}s": 1})

    def start_of(self, moment: datetime) -> datetime:
        """Return the start of the step that `moment` is in."""
        hour = moment.replace(minute=0, second=0, microsecond=0)
        if self is Interval.HOUR:
            return hour
        day = hour.replace(hour=0)
        return day - timedelta(days=day.weekday()) if self is Interval.WEEK else day


@dataclass(frozen=True)
class Stats:
    """A step: who was in just before its end, and how many joined and left in it.

    `at` is its start. The end of the last step is that of the question, or now.
    """

    at: datetime
    members: int
    by_hand: int
    joined: int
    left: int

    @property
    def by_percentage(self) -> int:
        """The known users who were in by percentage."""
        return self.members - self.by_hand


class WrongStart(Exception):  # noqa: N818 (a condition that callers ask about)
    """There is no step from the start on, or there are too many."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


async def list_stats(
    conn: Connection,
    slug: str,
    interval: Interval,
    start: datetime | None,
    end: datetime | None,
) -> list[Stats]:
    """Return the steps of a segment from the one that `start` is in to `end`, or to now.

    The segment is the one that has the slug at the end.

    Raises:
        SegmentsNotLive: no segment has the slug then.
        WrongStart: the start is not before the end, or the steps are too many.
    """
    now = await clock.now(conn)
    past = end if end and end < now else None
    segment_id = await find(conn, slug, past)
    end = past or now
    start = interval.start_of(start or end - (USUAL_STEPS - 1) * interval.length)
    if start >= end:
        raise WrongStart("is not before the end, to or now")
    if (end - start) / interval.length > MAX_STEPS:
        raise WrongStart(f"is too early: at most {MAX_STEPS} steps")
    rows = await conn.fetch(LIST_STATS, segment_id, start, end, interval)
    return [Stats(**row) for row in rows]
