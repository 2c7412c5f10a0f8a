"""What the feed has to say, computed without it: every stay of every user in every segment."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from segsvc.api.events import store
from segsvc.api.events.store import Event, Position
from segsvc.db.pool import Connection

REPLAY = """
    SELECT e.at, s.id AS segment_id, u.id AS user_id, s.slug, e.operation, e.cause, e.actor
    FROM users AS u
    CROSS JOIN segment AS s
    CROSS JOIN LATERAL stay_events(
        s,
        u.first_seen_at,
        (
            SELECT array_agg(m) FROM membership AS m
            WHERE m.user_id = u.id AND m.segment_id = s.id
        ),
        (
            SELECT array_agg(r) FROM rollout AS r
            WHERE r.segment_id = s.id AND rollout_point(r.salt, u.id) <@ r.points
        ),
        (
            SELECT array_agg(e) FROM elsewhere AS e
            WHERE e.user_id = u.id AND e.segment_id = s.id
        )
    ) AS e
    WHERE e.at < $1
    ORDER BY e.at, s.id, u.id
"""


async def replay(conn: Connection, before: datetime) -> list[Event]:
    """Return all events before a time, in the order of the feed."""
    rows = await conn.fetch(REPLAY, before)
    return [
        Event(
            Position(row["at"], row["segment_id"], row["user_id"]),
            row["slug"],
            row["operation"],
            row["cause"],
            row["actor"],
        )
        for row in rows
    ]


async def follow(
    conn: Connection,
    after: Position,
    horizon: datetime,
    limit: int,
    slugs: Sequence[str] | None = None,
) -> list[Event]:
    """Return the events from a position to a horizon, page by page."""
    found = []
    position = after
    while position.at < horizon:
        start = position
        events, position = await store.list_page(conn, start, horizon, limit, slugs)
        assert len(events) <= limit
        assert start < position
        assert all(start < event.id <= position for event in events)
        found += events
    return found


def check_order(events: Iterable[Event]) -> None:
    """Check that the order is total, and that a user enters and leaves a segment in turns."""
    before: Position | None = None
    inside: defaultdict[tuple[int, int], bool] = defaultdict(bool)
    for event in events:
        assert before is None or before < event.id
        before = event.id
        stay = event.id[1:]
        assert inside[stay] == (event.operation == "remove")
        inside[stay] = not inside[stay]
