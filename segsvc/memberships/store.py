"""The statements about memberships. A transaction, where one is needed, is opened here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from segsvc.database import Connection
from segsvc.statements import statement

LOCK = statement("memberships/lock")
CHANGE = statement("memberships/change")
LIST_AT = statement("memberships/list_at")


class UnknownSlugs(Exception):  # noqa: N818 (a condition that the caller asked about)
    """Some slugs name no live segment; `slugs` are they."""

    def __init__(self, slugs: set[str]) -> None:
        super().__init__(", ".join(sorted(slugs)))
        self.slugs = slugs


@dataclass(frozen=True)
class Changed:
    """What a request changed, and the segments that the user is in after it."""

    added: list[str]
    removed: list[str]
    segments: list[str]


async def change(
    conn: Connection, user_id: int, add: Sequence[str], remove: Sequence[str]
) -> Changed:
    """Put a user into some segments and take the user out of others, all or nothing.

    Raises:
        UnknownSlugs: some of the slugs are not live; nothing was changed.
    """
    async with conn.transaction():
        lock = await conn.fetchrow(LOCK, user_id, [*add, *remove])
        assert lock is not None
        ids = dict(zip(lock["slugs"], lock["ids"], strict=True))
        if unknown := {*add, *remove} - ids.keys():
            raise UnknownSlugs(unknown)
        slugs = {segment_id: slug for slug, segment_id in ids.items()}
        wanted = [list({ids[slug] for slug in each}) for each in (add, remove)]
        rows = await conn.fetch(CHANGE, user_id, lock["locked_at"], *wanted)
        (segments,) = await list_at(conn, [user_id], lock["locked_at"])
    return Changed(
        added=sorted(slugs[row["segment_id"]] for row in rows if row["included"]),
        removed=sorted(slugs[row["segment_id"]] for row in rows if not row["included"]),
        segments=segments,
    )


async def list_at(
    conn: Connection, user_ids: Sequence[int], at: datetime | None = None
) -> list[list[str]]:
    """Return the sorted slugs of each user's segments as of `at`, by default now."""
    return [row["segments"] for row in await conn.fetch(LIST_AT, user_ids, at)]
