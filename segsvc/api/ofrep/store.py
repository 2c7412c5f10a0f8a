"""Statements for evaluations, besides the reads of users."""

from collections.abc import Sequence

import asyncpg

from segsvc.db.pool import Connection
from segsvc.db.sql import statement

FIND = statement("ofrep/find")
LIST_LIVE = statement("ofrep/list_live")


async def find(conn: Connection, pairs: Sequence[tuple[int, str]]) -> list[asyncpg.Record]:
    """Return for each (user id, slug): `live`, `automatic`, `by_hand`."""
    return await conn.fetch(FIND, [user_id for user_id, _ in pairs], [slug for _, slug in pairs])


async def list_live(conn: Connection) -> dict[str, bool]:
    """Return whether each live segment is automatic, by slug, in the order of the slugs."""
    return {row["slug"]: row["automatic"] for row in await conn.fetch(LIST_LIVE)}
