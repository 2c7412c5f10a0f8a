"""Which points of a layer a percentage takes and gives back."""

import csv
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segsvc.api.segments import points
from segsvc.api.segments.points import SPACE, NotFree, Points, minus, size, union
from segsvc.db.pool import Connection
from tests import ROOT

# Points by the tenth of all, so that random sets meet.
TENTH = SPACE // 10
SETS = st.sets(st.integers(0, 9)).map(
    lambda tenths: union(*([(n * TENTH, (n + 1) * TENTH)] for n in tenths))
)
COUNTS = st.integers(0, SPACE)


def resized(owned: list[Points], count: int, taken: Points) -> Points:
    return points.resized(owned, count, taken, [])


def test_growth_takes_the_lowest_free() -> None:
    """What other segments have is left out, and what the segment has stays."""
    assert resized([], 10, []) == [(0, 10)]
    assert resized([[(0, 10)]], 30, [(10, 20)]) == [(0, 10), (20, 40)]
    assert resized([[(5, 10)]], 10, [(0, 3)]) == [(3, 13)]


def test_growth_prefers_what_stays_free() -> None:
    """Points that another segment takes later are the last choice."""
    assert points.resized([], 10, [(0, 5)], [(0, 5), (10, 20)]) == [(5, 10), (20, 25)]
    assert points.resized([], SPACE, [], [(10, 20)]) == points.ALL


def test_shrinking_gives_back_what_was_taken_last() -> None:
    """The latest growth goes first, in it the highest points."""
    grown = [[(0, 10), (20, 40)], [(0, 10), (20, 25)], [(0, 10)]]
    assert resized(grown, 20, [(10, 20)]) == [(0, 10), (20, 30)]
    assert resized(grown, 12, [(10, 20)]) == [(0, 10), (20, 22)]
    assert resized(grown, 7, [(10, 20)]) == [(0, 7)]
    # Taken later, though lower.
    assert resized([[(0, 20)], [(10, 20)]], 12, []) == [(0, 2), (10, 20)]


def test_nothing_is_exchanged() -> None:
    """A segment whose points another one takes later can have the rest at most."""
    with pytest.raises(NotFree) as caught:
        resized([[(0, 10)]], 10, [(5, 10)])
    assert caught.value.count == 5
    assert resized([[(0, 10)]], 5, [(5, 10)]) == [(0, 5)]


def test_too_few_points() -> None:
    """The refusal says how many a segment could have."""
    with pytest.raises(NotFree) as caught:
        resized([[(0, 10)]], SPACE, [(10, 20)])
    assert caught.value.count == SPACE - 10
    assert points.percent_of(SPACE // 3) == Decimal("33.33")
    for percent in (Decimal(n) / 100 for n in range(0, 10_001, 7)):
        assert points.percent_of(points.count_of(percent)) == percent


@given(own=SETS, others=SETS, count=COUNTS)
def test_random_sizes(own: Points, others: Points, count: int) -> None:
    """A new size is exact; growth keeps all, shrinking adds none; others are not touched."""
    own = minus(own, others)
    if count > SPACE - size(others):
        with pytest.raises(NotFree):
            resized([own], count, others)
        return
    after = resized([own], count, others)
    assert size(after) == count
    assert minus(after, others) == after
    smaller, larger = (after, own) if count < size(own) else (own, after)
    assert minus(smaller, larger) == []


@given(own=SETS, others=SETS, less=COUNTS)
def test_growing_back_takes_the_same(own: Points, others: Points, less: int) -> None:
    """A growth, a shrinkage and the same growth again give the same points, if nobody took them."""
    own = minus(own, others)
    most = SPACE - size(others)
    grown = resized([own], most, others)
    shrunk = resized([grown, own], min(less, most), others)
    assert resized([shrunk, grown, own], most, others) == grown


async def test_published_vectors(conn: Connection) -> None:
    """The points in the documentation are those of the database."""
    with (ROOT / "docs" / "vectors" / "layer.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 42
    for row in rows:
        found = await conn.fetchval(
            "SELECT rollout_point($1, $2)", row["salt"], int(row["user_id"])
        )
        assert found == int(row["point"])


async def test_percentages_agree_with_the_database(conn: Connection) -> None:
    """A percentage has as many points in a layer as outside it."""
    percents = [Decimal(n) / 100 for n in range(10_001)]
    rows = await conn.fetch(
        "SELECT upper(rollout_points(p)) AS points FROM unnest($1::numeric[]) AS p", percents
    )
    assert [row["points"] or 0 for row in rows] == [points.count_of(p) for p in percents]
