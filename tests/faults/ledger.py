"""What was asked for and what was answered, and whether the database agrees."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from segsvc.db.pool import Connection

MANUAL, AUTOMATIC = "MANUAL", "AUTOMATIC"

Window = tuple[datetime, datetime]
Row = tuple[bool, datetime, datetime | None]  # included, valid_from, valid_to


def now() -> datetime:
    """Return the time of the machine, which is the clock of the database too."""
    return datetime.now(UTC)


@dataclass
class Write:
    """A change of one user, repeated until it was answered or given up.

    It was done between `sent_at`, when it was sent first, and `answered_at`, which is None as long
    as it has no answer.
    """

    user_id: int
    add: list[str]
    remove: list[str]
    ttl: int | None
    sent_at: datetime = field(default_factory=now)
    answered_at: datetime | None = None

    @property
    def window(self) -> Window:
        """The times between which it was done, if it was."""
        return self.sent_at, self.answered_at or now()

    @property
    def body(self) -> dict[str, object]:
        body: dict[str, object] = {"add": self.add, "remove": self.remove}
        return body if self.ttl is None else body | {"ttl": self.ttl}


@dataclass
class Period:
    """What a period must be: the windows of its start and of its end, None without an end."""

    included: bool
    starts: Window
    ends: Window | None

    def is_row(self, row: Row) -> bool:
        """Return whether a row is this period."""
        included, valid_from, valid_to = row
        return (
            included == self.included
            and self.starts[0] <= valid_from <= self.starts[1]
            and (valid_to is None) == (self.ends is None)
            and (valid_to is None or not self.ends or self.ends[0] <= valid_to <= self.ends[1])
        )


Periods = dict[str, list[Period]]


@dataclass
class Findings:
    """What was found of a ledger in the database."""

    acknowledged: int = 0
    found: int = 0
    unanswered: int = 0
    unanswered_found: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.acknowledged} writes acknowledged, {self.found} found;"
            f" {self.unanswered} never acknowledged, {self.unanswered_found} of these there, whole"
        )


class Ledger:
    """The writes of each user, in their order. Only the last of a user may be unanswered."""

    def __init__(self) -> None:
        self.writes: dict[int, list[Write]] = defaultdict(list)

    async def compare(self, conn: Connection) -> Findings:
        """Hold every period in the database against what was acknowledged."""
        rows: dict[int, dict[str, list[Row]]]
        rows = defaultdict(lambda: {MANUAL: [], AUTOMATIC: []})
        for row in await conn.fetch(
            """
            SELECT m.user_id, s.slug, m.included, m.valid_from,
                   nullif(m.valid_to, 'infinity') AS valid_to
            FROM membership AS m JOIN segment AS s ON s.id = m.segment_id
            WHERE s.slug = ANY($1) ORDER BY m.valid_from
            """,
            [MANUAL, AUTOMATIC],
        ):
            rows[row["user_id"]][row["slug"]].append(tuple(row)[2:])
        findings = Findings(
            wrong=[f"user {u} was never written" for u in rows - self.writes.keys()]
        )
        for user_id, writes in self.writes.items():
            answered = [write for write in writes if write.answered_at]
            findings.acknowledged += len(answered)
            findings.unanswered += len(writes) - len(answered)
            if _agree(rows[user_id], expected(writes)):
                findings.found += len(answered)
                findings.unanswered_found += len(writes) - len(answered)
            elif _agree(rows[user_id], expected(answered)):
                findings.found += len(answered)
            else:
                findings.wrong.append(f"user {user_id} has {rows[user_id]} after {writes}")
        return findings


def _agree(rows: dict[str, list[Row]], all_: Periods) -> bool:
    return all(
        len(rows[slug]) == len(periods)
        and all(period.is_row(row) for row, period in zip(rows[slug], periods, strict=True))
        for slug, periods in all_.items()
    )


def expected(writes: Sequence[Write]) -> Periods:
    """Return the periods that these writes of one user make, one after the other.

    The table in sql/users/change.sql, said a second time. No TTL passes meanwhile.
    """
    periods: Periods = {MANUAL: [], AUTOMATIC: []}
    for write in writes:
        until: Window | None = None
        if write.ttl is not None:
            ttl = timedelta(seconds=write.ttl)
            until = write.window[0] + ttl, write.window[1] + ttl
        for slug in write.add:
            current = _current(periods[slug])
            if current and current.included:
                current.ends = until
            else:
                if current:
                    current.ends = write.window
                periods[slug].append(Period(True, write.window, until))
        for slug in write.remove:
            current = _current(periods[slug])
            if current and current.included:
                current.ends = write.window
            if current.included if current else slug == AUTOMATIC:
                periods[slug].append(Period(False, write.window, None))
    return periods


def _current(periods: Sequence[Period]) -> Period | None:
    """Return the last period, unless a removal has ended it."""
    last = periods[-1] if periods else None
    return None if last and last.ends and last.ends[0] < now() else last
