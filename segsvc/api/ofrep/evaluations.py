"""The evaluation of flags: whether a user is in a segment, and by what.

Values come from the reads of present segments alone. What else an evaluation needs is asked at the
same time, in batches too, and kept by nobody: every evaluation sees what was committed before it.
A write that is under way meanwhile may be seen by the one and not by the other, so the reason is
made to agree with the value whichever they are.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg
from aiohttp import web

from segsvc.api.ofrep import store
from segsvc.api.users.reads import Reads
from segsvc.db.batching import Batcher
from segsvc.db.pool import Connection, Pool, connection


class Flag(NamedTuple):
    """A segment as a flag: whether the user is in (`value`), and the protocol's `reason`."""

    key: str
    value: bool
    reason: str


class Evaluations:
    """Evaluates the flags of users, by `reads` and by connections of `pool`."""

    def __init__(self, reads: Reads, pool: Pool) -> None:
        self._reads = reads
        self._pairs: Batcher[tuple[int, str], asyncpg.Record] = Batcher(
            lambda: connection(pool), store.find
        )
        self._listings: Batcher[None, dict[str, bool]] = Batcher(lambda: connection(pool), _list)

    async def evaluate(self, user_id: int, slug: str) -> Flag | None:
        """Return the flag of the live segment of this slug, or None; the user is known from now on.

        Raises:
            Unavailable: the database cannot be used at the moment.
        """
        inside, pair = await asyncio.gather(
            self._reads.list_now(user_id), self._pairs.ask((user_id, slug))
        )
        if not pair["live"]:
            return None
        return _flag(slug, slug in inside, automatic=pair["automatic"], by_hand=pair["by_hand"])

    async def evaluate_all(self, user_id: int) -> list[Flag]:
        """Return the flags of all live segments by their slugs; the user is known from now on.

        Raises:
            Unavailable: the database cannot be used at the moment.
        """
        slugs, automatic = await asyncio.gather(
            self._reads.list_now(user_id), self._listings.ask(None)
        )
        unclear = [slug for slug in slugs if automatic.get(slug)]
        pairs = await asyncio.gather(*(self._pairs.ask((user_id, slug)) for slug in unclear))
        inside = set(slugs)
        by_hand = {slug for slug, pair in zip(unclear, pairs, strict=True) if pair["by_hand"]}
        return [
            _flag(slug, slug in inside, automatic=is_automatic, by_hand=slug in by_hand)
            for slug, is_automatic in automatic.items()
        ]

    async def close(self) -> None:
        """Stop at once, with whatever is under way."""
        await self._pairs.close()
        await self._listings.close()


EVALUATIONS = web.AppKey("evaluations", Evaluations)


@asynccontextmanager
async def opened(reads: Reads, pool: Pool) -> AsyncIterator[Evaluations]:
    """Yield evaluations by `reads` and `pool`; nothing of them is left after."""
    evaluations = Evaluations(reads, pool)
    try:
        yield evaluations
    finally:
        await evaluations.close()


def _flag(slug: str, value: bool, *, automatic: bool, by_hand: bool) -> Flag:  # noqa: FBT001
    if value and (by_hand or not automatic):
        return Flag(slug, value, "TARGETING_MATCH")
    return Flag(slug, value, "SPLIT" if automatic else "STATIC")


async def _list(conn: Connection, asked: list[None]) -> list[dict[str, bool]]:
    return [await store.list_live(conn)] * len(asked)
