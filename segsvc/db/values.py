"""Values as the database holds them."""

import re
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from segsvc.db.conditions import EndTooFar, PastExpiry, PastStart, StartAfterEnd

# The largest bigint of PostgreSQL.
MAX_BIGINT = 2**63 - 1
MAX_USER_ID = MAX_BIGINT
SLUG = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")

# The end of a membership: a time, a time to live from its start on, or no end.
Expiry = datetime | timedelta | None


class Author(NamedTuple):
    """Who changes something: the name of the API key and the id of the request; None: neither."""

    actor: str | None = None
    request_id: str | None = None


class Term(NamedTuple):
    """When a membership holds: from its start, None for now, to its end."""

    starts_at: datetime | None = None
    expiry: Expiry = None


class Bounds(NamedTuple):
    """A term as times: None for now, and for no end."""

    start: datetime | None
    end: datetime | None


# What takes the output of COPY, piece by piece.
Sink = Callable[[bytes], Coroutine[Any, Any, None]]


def bounds_of(
    terms: Mapping[str, Term], now: datetime, ends: Mapping[str, datetime | None]
) -> dict[str, Bounds]:
    """Return the bounds of memberships in some segments, by slug; `ends` are those of the segments.

    Raises:
        PastStart: some of them would start at `now` or before it.
        StartAfterEnd: some of them would start when their segments have ended.
        PastExpiry: some of them would end at their start or before it.
        EndTooFar: one of them would end after the year 9999.
    """
    if past := {slug for slug, term in terms.items() if term.starts_at and term.starts_at <= now}:
        raise PastStart(past)
    if late := {slug for slug, term in terms.items() if ended(ends[slug], term.starts_at)}:
        raise StartAfterEnd(late)
    bounds = {}
    for slug, (starts_at, expiry) in terms.items():
        start = starts_at or now
        try:
            end = start + expiry if isinstance(expiry, timedelta) else expiry
        except OverflowError:
            raise EndTooFar({slug}) from None
        if ended(end, start):
            past.add(slug)
        bounds[slug] = Bounds(starts_at, end)
    if past:
        raise PastExpiry(past)
    return bounds


def ended(end: datetime | None, at: datetime | None) -> bool:
    """Return whether what has this end, None for no end, is over at a time, None for now."""
    return end is not None and at is not None and at >= end


def rows_of(status: str) -> int:
    """Return the number of rows in a command's status, such as `DELETE 42`."""
    return int(status.rpartition(" ")[2])


def rfc3339(moment: datetime) -> str:
    """Return `moment` in UTC, with microseconds and a `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
