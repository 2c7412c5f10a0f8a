"""The clock of the database, which all times come from."""

from datetime import datetime

from segsvc.db.pool import Connection
from segsvc.db.sql import statement

GET_NOW = statement("db/get_now")


async def now(conn: Connection) -> datetime:
    """Return the time of the database."""
    moment: datetime = await conn.fetchval(GET_NOW)
    return moment


async def preview_mark(conn: Connection, at: datetime | None) -> dict[str, bool]:
    """Return the mark of an answer as of a future time; nothing for another time or None."""
    return {"preview": True} if at is not None and at > await now(conn) else {}
