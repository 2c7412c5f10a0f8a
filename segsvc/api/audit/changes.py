"""What changes of segments and layers leave in the audit log: before and after."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from segsvc.api.audit.store import record
from segsvc.api.members.store import Change, Changed
from segsvc.api.segments.states import list_states
from segsvc.api.users.store import REFUSE
from segsvc.db import clock
from segsvc.db.pool import Connection
from segsvc.db.values import Author, rfc3339

# A state as JSON.
Shown = Mapping[str, Any]


@asynccontextmanager
async def recorded(conn: Connection, author: Author, slugs: Collection[str]) -> AsyncIterator[None]:
    """Record what becomes of segments inside the context; the slugs are locked.

    What stays as it was leaves no entry.
    """
    before = await list_states(conn, slugs, await clock.now(conn))
    yield
    now = await clock.now(conn)
    after = await list_states(conn, slugs, now)
    for slug in sorted(before.keys() | after.keys()):
        # A step of a plan that came meanwhile, or the planned end, is no change.
        then = before[slug].at(now) if slug in before else None
        states = [state.shown() if state else None for state in (then, after.get(slug))]
        await _record(conn, author, "segment", slug, states)


async def record_layer(
    conn: Connection,
    author: Author,
    slug: str,
    before: Collection[str] | None,
    after: Collection[str] | None,
) -> None:
    """Record that a layer had and has these segments, None if there was or is no layer."""
    states = [{"segments": sorted(each)} if each is not None else None for each in (before, after)]
    await _record(conn, author, "layer", slug, states)


async def record_members(
    conn: Connection,
    author: Author,
    wanted: Change,
    done: Changed,
    users: Mapping[str, Any] | None = None,
) -> None:
    """Record how many members of a segment were changed, for a file or for a set of `users`."""
    if wanted.dry_run or not (done.added or done.removed):
        return
    details: dict[str, Any] = {"from": users or "file", "received": done.received}
    if wanted.term.starts_at:
        details["starts_at"] = rfc3339(wanted.term.starts_at)
    match wanted.term.expiry:
        case timedelta() as ttl:
            details["ttl"] = round(ttl.total_seconds())
        case datetime() as end:
            details["expires_at"] = rfc3339(end)
    details |= {"added": done.added, "removed": done.removed}
    if wanted.on_conflict != REFUSE:
        details |= {"on_conflict": wanted.on_conflict, "skipped": done.skipped}
    await record(conn, author, f"members.{wanted.operation}", wanted.slug, details)


async def _record(
    conn: Connection, author: Author, kind: str, slug: str, states: Sequence[Shown | None]
) -> None:
    """Record how a state changed, unless it is the same."""
    before, after = states
    if before == after:
        return
    if before is None:
        await record(conn, author, f"{kind}.create", slug, {"after": after})
    elif after is None:
        await record(conn, author, f"{kind}.delete", slug, {"before": before})
    else:
        changed = [name for name in before if before[name] != after[name]]
        details = {
            "before": {name: before[name] for name in changed},
            "after": {name: after[name] for name in changed},
        }
        await record(conn, author, f"{kind}.change", slug, details)
