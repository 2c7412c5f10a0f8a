"""Statements about the audit log. The caller owns the transaction, which is that of the change."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from segsvc.db.pool import Connection
from segsvc.db.sql import statement
from segsvc.db.values import Author

RECORD = statement("audit/record")
LIST = statement("audit/list")


@dataclass(frozen=True)
class Entry:
    """A recorded change; `slug` names a segment, a layer or a key, None if a user was erased."""

    id: int
    at: datetime
    actor: str | None
    request_id: str | None
    action: str
    slug: str | None
    details: dict[str, Any]


async def record(
    conn: Connection, author: Author, action: str, slug: str | None, details: Mapping[str, Any]
) -> None:
    """Record a change. The details are JSON."""
    text = json.dumps(details, ensure_ascii=False)
    await conn.execute(RECORD, author.actor, author.request_id, action, slug, text)


async def list_page(
    conn: Connection, after: int | None, limit: int, slug: str | None, actor: str | None
) -> list[Entry]:
    """Return up to `limit` entries that are older than the one with the id `after`, newest first.

    With a slug or an actor, only what they name.
    """
    rows = await conn.fetch(LIST, after, slug, actor, limit)
    return [Entry(**{**row, "details": json.loads(row["details"])}) for row in rows]
