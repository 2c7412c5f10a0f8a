"""What the audit log compares of segments."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from segsvc.api.segments.percentages import Step, list_steps
from segsvc.db.pool import Connection
from segsvc.db.sql import statement
from segsvc.db.values import ended, rfc3339

LIST_STATES = statement("segments/list_states")


@dataclass(frozen=True)
class State:
    """A live segment at a time: what analysts set."""

    description: str
    percent: Decimal | None
    plan: list[Step]
    ends_at: datetime | None
    layer: str | None

    def at(self, later: datetime) -> "State | None":
        """Return what it is at a later time if nothing is changed; None if it has ended by then."""
        if ended(self.ends_at, later):
            return None
        due = [step for step in self.plan if step.at <= later]
        percent = due[-1].percent if due else self.percent
        return replace(self, percent=percent, plan=self.plan[len(due) :])

    def shown(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "description": self.description,
            "percent": _number(self.percent),
            "plan": [{"at": rfc3339(s.at), "percent": _number(s.percent)} for s in self.plan],
            "ends_at": rfc3339(self.ends_at) if self.ends_at else None,
            "layer": self.layer,
        }


async def list_states(conn: Connection, slugs: Collection[str], now: datetime) -> dict[str, State]:
    """Return the states of those of these segments that are live, by slug."""
    states = {}
    for row in await conn.fetch(LIST_STATES, slugs, now):
        percent, plan = await list_steps(conn, row["id"], now)
        states[row["slug"]] = State(row["description"], percent, plan, row["ends_at"], row["layer"])
    return states


def _number(percent: Decimal | None) -> float | None:
    return None if percent is None else float(percent)
