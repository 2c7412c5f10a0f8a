"""Changes of one user: a write that waits for its turn, with what is refused as a problem."""

from collections.abc import Sequence
from contextlib import suppress

from aiohttp import web

from segsvc.api.audit import store as audit
from segsvc.api.users import erasure, store
from segsvc.api.users.schemas import UserChange
from segsvc.api.users.writes import WRITES
from segsvc.auth.keys import actor
from segsvc.db.conditions import (
    Conflict,
    ElsewhereInLayer,
    PastExpiry,
    PastStart,
    SameLayer,
    SegmentsNotLive,
    StartAfterEnd,
)
from segsvc.db.pool import connection
from segsvc.http import problems
from segsvc.http.app_keys import POOL
from segsvc.http.requests import author, pointer, refusal


async def change(request: web.Request, user_id: int, change: UserChange) -> store.Changed:
    """Add a user to segments and remove the user from others: all of it or nothing.

    Raises:
        UnknownSegments, ElsewhereInLayer, InvalidRequest: it is refused; nothing was changed.
    """
    add = {addition.slug: addition.term for addition in change.add}
    wanted = store.Change(user_id, add, change.remove, change.on_conflict, actor(request))
    try:
        return await request.app[WRITES].change(wanted)
    except SegmentsNotLive as error:
        raise _unknown_segments(change, error.slugs) from None
    except ElsewhereInLayer as error:
        raise _elsewhere_in_layer(change, user_id, error.conflicts) from None
    except SameLayer as error:
        slugs = [addition.slug for addition in change.add]
        places = [("add", i) for i, slug in enumerate(slugs) if slug in error.slugs]
        raise refusal(error.detail, *places) from None
    except (PastStart, StartAfterEnd) as error:
        starts = {a.start_place: None for a in change.add if a.slug in error.slugs}
        raise refusal(error.detail, *starts) from None
    except PastExpiry as error:
        ends = {a.end_place: None for a in change.add if a.slug in error.slugs}
        raise refusal(error.detail, *ends) from None


async def erase(request: web.Request, user_id: int) -> bool:
    """Erase a user, and return whether the user was known. The audit log does not say who."""
    async with connection(request.app[POOL]) as conn:
        while True:
            with suppress(erasure.SegmentsMissed):
                async with conn.transaction():
                    known = await erasure.erase(conn, user_id)
                    if known:
                        await audit.record(conn, author(request), "user.erase", None, {})
                return known


def _unknown_segments(change: UserChange, slugs: set[str]) -> problems.UnknownSegments:
    """Return the problem that points at each of `slugs` in the request."""
    places = [("add", i, addition.slug) for i, addition in enumerate(change.add)]
    places += [("remove", i, slug) for i, slug in enumerate(change.remove)]
    return problems.UnknownSegments(
        [
            {"pointer": pointer(name, i), "detail": f"no live segment has the slug {slug}"}
            for name, i, slug in places
            if slug in slugs
        ]
    )


def _elsewhere_in_layer(
    change: UserChange, user_id: int, conflicts: Sequence[Conflict]
) -> problems.ElsewhereInLayer:
    """Return the problem that points at each addition which is in the way of another segment."""
    places = {addition.slug: i for i, addition in reversed(list(enumerate(change.add)))}
    return problems.ElsewhereInLayer(
        [
            {
                "pointer": pointer("add", places[conflict.slug]),
                "detail": problems.elsewhere(user_id, conflict.elsewhere, conflict.ends_at),
            }
            for conflict in conflicts
        ],
        store.CHOICES,
    )
