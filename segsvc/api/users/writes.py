"""Changes of users: those that arrive while one is under way go together as the next transaction.

A transaction locks the segments and users of all its changes in one order, changes them by one
statement, and commits once. Each change is done or refused for itself: one that is refused keeps no
other from being done. If a lock is held for longer than a moment, by a file or a deletion, the
changes that need it wait for it by themselves, and hold up no others.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from weakref import WeakValueDictionary

import asyncpg
from aiohttp import web

from segsvc.api.users import store
from segsvc.api.users.store import Change, Changed, Refusal
from segsvc.db.batching import Batcher
from segsvc.db.pool import Connection, KeptConnection, Pool, Turns, connection
from segsvc.db.session import WRITE_SESSION
from segsvc.settings import Limits

# Slugs of a change that goes together with others; longer ones would delay them.
MAX_SLUGS = 10

# What a defect raises: the other changes of the batch are to be done in spite of it.
DEFECTS = (
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    asyncpg.IntegrityConstraintViolationError,
)


class GoesAlone(Exception):  # noqa: N818 (a condition)
    """The change goes by itself: a lock is held, or there was a defect; nothing was changed."""


class Writes:
    """Batched changes of users."""

    def __init__(self, kept: KeptConnection, pool: Pool, limits: Limits) -> None:
        """Change on `kept`, or, what must go by itself, on connections of `pool`."""
        self._pool = pool
        self._changes: Batcher[Change, Changed] = Batcher(kept.lend, _change_all)
        # Those that go by themselves may wait as long as a file takes: half of the pool is theirs.
        self.alone = Turns(limits.waiting, at_once=limits.pool // 2 or 1)
        self._users: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def change(self, wanted: Change) -> Changed:
        """Change the segments of a user: all that is wanted, or nothing.

        Raises:
            SegmentsNotLive: some of the slugs are not live.
            PastStart: some of the memberships would start in the past.
            StartAfterEnd: some of their segments would have ended.
            PastExpiry: some of them would end before they start.
            SameLayer: some of the segments to add are in one layer.
            ElsewhereInLayer: the user is in another segment of a layer, and that is to be refused.
            Unavailable: the database cannot be used at the moment.
        """
        if len(wanted.slugs) <= MAX_SLUGS:
            try:
                return await self._changes.ask(wanted)
            except GoesAlone:
                pass
        return await self._change_alone(wanted)

    async def close(self) -> None:
        """Stop at once and cancel what is under way."""
        await self._changes.close()

    async def _change_alone(self, wanted: Change) -> Changed:
        one_of_a_user = self._users.setdefault(wanted.user_id, asyncio.Lock())
        async with self.alone.take(), one_of_a_user, connection(self._pool) as conn:
            (outcome,) = await _change_different(conn, [wanted])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


WRITES = web.AppKey("writes", Writes)


@asynccontextmanager
async def opened(dsn: str, pool: Pool, limits: Limits) -> AsyncIterator[Writes]:
    """Yield changes in the database at `dsn`, and close them afterwards."""
    async with KeptConnection(dsn, WRITE_SESSION) as kept:
        writes = Writes(kept, pool, limits)
        try:
            yield writes
        finally:
            await writes.close()


async def _change_all(conn: Connection, wanted: Sequence[Change]) -> list[Changed | Exception]:
    """Make changes, those of one user one after the other; return what became of each."""
    outcomes: dict[int, Changed | Exception] = {}
    waiting: set[int] = set()  # users with a change that is to wait: later ones do not overtake it
    for turn in _turns(wanted):
        going = [place for place in turn if wanted[place].user_id not in waiting]
        outcomes |= {place: GoesAlone() for place in turn}
        found = await _change_unlocked(conn, [wanted[place] for place in going])
        outcomes |= zip(going, found, strict=True)
        waiting |= {wanted[p].user_id for p in turn if isinstance(outcomes[p], GoesAlone)}
    return [outcomes[place] for place in range(len(wanted))]


async def _change_unlocked(
    conn: Connection, wanted: Sequence[Change]
) -> Sequence[Changed | Exception]:
    """Make changes of different users; those that would wait for a lock are `GoesAlone`."""
    try:
        return await _change_different(conn, wanted)
    except asyncpg.LockNotAvailableError:
        pass
    except DEFECTS:  # each again by itself: it is raised for the one that it belongs to
        return [GoesAlone()] * len(wanted)
    async with conn.transaction():
        free = await store.list_free(conn, {slug for change in wanted for slug in change.slugs})
    outcomes: dict[int, Changed | Exception] = {change.user_id: GoesAlone() for change in wanted}
    free_changes = [change for change in wanted if change.slugs <= free]
    with suppress(asyncpg.LockNotAvailableError):  # it was not a segment, or one is held since
        found = await _change_different(conn, free_changes)
        outcomes |= zip((change.user_id for change in free_changes), found, strict=True)
    return [outcomes[change.user_id] for change in wanted]


def _turns(wanted: Sequence[Change]) -> list[list[int]]:
    """Return the places of changes in turns: in each, a user has one change."""
    turns: list[list[int]] = []
    times: defaultdict[int, int] = defaultdict(int)
    for place, change in enumerate(wanted):
        turn = times[change.user_id]
        times[change.user_id] += 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(place)
    return turns


async def _change_different(conn: Connection, wanted: Sequence[Change]) -> list[Changed | Refusal]:
    """Make changes of different users in one transaction; return what became of each.

    New users whose changes are refused stay unknown: the others are made again, without them.
    """
    outcomes: dict[int, Changed | Refusal] = {}
    waiting = wanted
    while waiting:
        try:
            async with conn.transaction():
                outcomes |= await store.change(conn, waiting)
        except store.NewUsersRefused as error:
            outcomes |= error.refused
        waiting = [change for change in waiting if change.user_id not in outcomes]
    return [outcomes[change.user_id] for change in wanted]
