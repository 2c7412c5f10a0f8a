"""Erasing a user: nothing that is stored names the user afterwards."""

from segsvc.db.pool import Connection
from segsvc.db.sql import statement

LIST_SEGMENTS = statement("users/list_segments")
LOCK_SEGMENTS = statement("users/lock_segments")
LOCK_KNOWN = statement("users/lock_known")
LOCK_REGISTRATION = statement("users/lock_registration")
ERASE_PERIODS = statement("users/erase_periods")
ERASE = statement("users/erase")


class SegmentsMissed(Exception):  # noqa: N818 (a condition that callers ask about)
    """A file has put the user into another segment meanwhile; nothing was changed: try again."""


async def erase(conn: Connection, user_id: int) -> bool:
    """Erase a user, and return whether the user was known. The caller owns the transaction.

    What a file that is under way says of the user comes afterwards: the user is known again then.

    Raises:
        SegmentsMissed: a segment of the user was not locked; the caller rolls back and tries again.
    """
    locked = await _segments(conn, user_id)
    await conn.execute(LOCK_SEGMENTS, locked)
    if await conn.fetchval(LOCK_KNOWN, user_id) is None:
        return False
    await conn.execute(LOCK_REGISTRATION)
    if not await _segments(conn, user_id) <= locked:
        raise SegmentsMissed
    await conn.execute(ERASE_PERIODS, user_id)
    await conn.execute(ERASE, user_id)
    return True


async def _segments(conn: Connection, user_id: int) -> set[int]:
    return {row["id"] for row in await conn.fetch(LIST_SEGMENTS, user_id)}
