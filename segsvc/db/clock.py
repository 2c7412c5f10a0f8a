"""The clock of the database, which all times come from."""

from datetime import datetime

from segsvc.db.pool import Connection
from segsvc.db.sql import statement

GET_NOW = statement("db/get_now")


async def now(conn: Connection) -> datetime:
    """Return the time of the database."""
    moment: datetime = await conn.fetchval(GET_NOW)
    return moment
