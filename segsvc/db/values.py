"""Values as the database holds them."""

import re
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from segsvc.db.conditions import PastExpiry

MAX_USER_ID = 2**63 - 1
SLUG = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")

# The end of a membership: a time, a time to live from the write on, or no end.
Expiry = datetime | timedelta | None

# What takes the output of COPY, piece by piece.
Sink = Callable[[bytes], Coroutine[Any, Any, None]]


def ends_of(expiries: Mapping[str, Expiry], now: datetime) -> dict[str, datetime | None]:
    """Return the ends of memberships in some segments, by slug, as times.

    Raises:
        PastExpiry: some of them are not after `now`.
    """
    ends = {s: now + end if isinstance(end, timedelta) else end for s, end in expiries.items()}
    if past := {slug for slug, end in ends.items() if end is not None and end <= now}:
        raise PastExpiry(past)
    return ends


def rfc3339(moment: datetime) -> str:
    """Return `moment` in UTC, with microseconds and a `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
