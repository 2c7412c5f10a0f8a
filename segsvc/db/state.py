"""The state of the database and of the role: what the service needs to work."""

import re
from dataclasses import dataclass
from typing import Literal

from segsvc.db.pool import READ_ONLY, STANDBY, Connection
from segsvc.db.sql import statement

_OBJECT = re.compile(r" ON (\w+) (.*) TO ")

GET_STATE = statement("db/get_state")

Task = Literal["serve", "read", "prune", "keys", "migrate"]


class WrongSetup(Exception):  # noqa: N818 (a state, reported at start)
    """The database or the role is not what is needed; the message says what to do."""


@dataclass(frozen=True)
class State:
    """What a database is good for.

    Attributes:
        read_only: why it takes no writes, None if it does.
    """

    read_only: str | None


async def check(conn: Connection, task: Task) -> State:
    """Return the state of the database, for a task.

    Raises:
        WrongSetup: the encoding is not UTF8, or rights are missing.
    """
    row = await conn.fetchrow(GET_STATE, task)
    assert row is not None
    if row["encoding"] != "UTF8":
        raise WrongSetup(
            f"the database {row['database']} has the encoding {row['encoding']} and cannot store"
            " every text: make one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )
    if row["missing"]:
        objects = _OBJECT.findall("\n".join(row["missing"]))
        denied = ", ".join(f"{kind.lower()} {name}" for kind, name in objects)
        raise WrongSetup(
            f"permission denied for {denied}: the role {row['role']} lacks rights. The owner of the"
            f" database {row['database']} can give them: {'; '.join(row['missing'])}"
        )
    if row["in_recovery"]:
        return State(STANDBY)
    return State(READ_ONLY if row["read_only"] else None)
