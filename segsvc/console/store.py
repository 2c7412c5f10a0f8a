"""Statements that only pages need."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from segsvc.db.pool import Connection
from segsvc.db.sql import statement

DESCRIBE_SEGMENTS = statement("console/describe_segments")


@dataclass(frozen=True)
class Described:
    """What a list says of a segment, besides what the API lists.

    With `more`, there are at least so many members by hand: the first 1,001 were looked at.
    """

    slug: str
    members: int
    more: bool
    next_at: datetime | None
    next_percent: Decimal | None
    changed_at: datetime | None
    changed_by: str | None
    action: str | None


async def describe(conn: Connection, slugs: Sequence[str]) -> dict[str, Described]:
    """Return what a list says of live segments, by slug."""
    return {row["slug"]: Described(**row) for row in await conn.fetch(DESCRIBE_SEGMENTS, slugs)}
