"""Statements for evaluations."""

from collections.abc import Sequence

import asyncpg

from segsvc.db.pool import Connection
from segsvc.db.sql import statement

EVALUATE = statement("ofrep/evaluate")
EVALUATE_ALL = statement("ofrep/evaluate_all")


async def evaluate(conn: Connection, pairs: Sequence[tuple[int, str]]) -> list[asyncpg.Record]:
    """Return for each (user id, slug): `live`, `automatic`, `by_hand`, `member`, `known`."""
    user_ids, slugs = [user_id for user_id, _ in pairs], [slug for _, slug in pairs]
    return await conn.fetch(EVALUATE, user_ids, slugs)


async def evaluate_all(conn: Connection, user_ids: Sequence[int]) -> list[asyncpg.Record]:
    """Return for each user `known`, and lists: `slugs`, `automatic`, `by_hand`, `member`."""
    return await conn.fetch(EVALUATE_ALL, user_ids)
