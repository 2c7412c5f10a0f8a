"""Points of a layer: which of them the percentage of a segment takes.

A percentage outside a layer has the lowest points. In a layer, where segments share the points, it
grows by the lowest free ones and shrinks by those that it took last: growth removes nobody and
touches no other segment, and growth after a shrinkage takes the same users back while their points
are free (design, section 5).
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import chain, pairwise
from typing import Any

# Sorted half-open ranges that do not touch.
Points = list[tuple[int, int]]

SPACE = 2**32
ALL: Points = [(0, SPACE)]


class NotFree(Exception):  # noqa: N818 (a condition that callers ask about)
    """The layer has not as many points for the segment; `count` is how many it could have."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


def count_of(percent: Decimal | None) -> int:
    """Return the number of points of a percentage from 0.00 to 100.00, None for no percentage."""
    return 0 if percent is None else int(percent * SPACE // 100)


def percent_of(count: int) -> Decimal:
    """Return the largest percentage, with two decimals, that needs no more than `count` points."""
    return Decimal(((count + 1) * 10_000 - 1) // SPACE) / 100


def lowest(count: int) -> Points:
    """Return the points that a percentage has outside a layer."""
    return [(0, count)] if count else []


def text(points: Points) -> str:
    """Return the points as the text of an int8multirange."""
    return "{" + ",".join(f"[{lower},{upper})" for lower, upper in points) + "}"


def of_ranges(stored: Iterable[Any]) -> Points:
    """Return an int8multirange as the driver reads it."""
    return [(each.lower, each.upper) for each in stored]


def size(points: Points) -> int:
    """Return the number of points."""
    return sum(upper - lower for lower, upper in points)


def union(*parts: Points) -> Points:
    """Return the points that are in any of `parts`."""
    merged: Points = []
    for lower, upper in sorted(chain.from_iterable(parts)):
        if merged and lower <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(upper, merged[-1][1]))
        else:
            merged.append((lower, upper))
    return merged


def minus(points: Points, others: Points) -> Points:
    """Return the points that are not among `others`."""
    left: Points = []
    for lower, upper in points:
        # What is left of the range lies between the others.
        bounds = [(lower, lower), *(r for r in others if r[0] < upper and lower < r[1])]
        gaps = pairwise([*bounds, (upper, upper)])
        left += [(before, after) for (_, before), (after, _) in gaps if before < after]
    return left


def resized(owned: Sequence[Points], count: int, taken: Points, taken_later: Points) -> Points:
    """Return the `count` points that a segment has next.

    Args:
        owned: what it has, and what it had before without a gap, the newest first; may be empty.
        count: 0 to 2^32.
        taken: what other segments have meanwhile.
        taken_later: what they have afterwards, which is used if nothing else is free.

    Raises:
        NotFree: there are too few points for it. What it has already is not exchanged for others.
    """
    had = owned[0] if owned else []
    kept = minus(had, taken)
    if size(kept) < count:
        free = minus(ALL, union(taken, kept)) if kept == had else []
        if size(kept) + size(free) < count:
            raise NotFree(size(kept) + size(free))
        lasting = _first(minus(free, taken_later), count - size(kept))
        rest = _first(minus(free, lasting), count - size(kept) - size(lasting))
        return union(kept, lasting, rest)
    for before in [*owned[1:], []]:
        last_taken = minus(kept, before)
        kept = minus(kept, _first(last_taken, size(kept) - count, from_above=True))
    return kept


def _first(points: Points, count: int, *, from_above: bool = False) -> Points:
    """Return `count` of the points, or all if they are fewer, the lowest or the highest ones."""
    found: Points = []
    for lower, upper in reversed(points) if from_above else points:
        some = min(count, upper - lower)
        if some:
            found.append((upper - some, upper) if from_above else (lower, lower + some))
        count -= some
    return sorted(found)
