"""Evaluation of flags: whether a user is in a segment, and by what.

The value comes from the batched reads of current segments. The facts for the reason are queried at
the same time, in batches too. Nothing is cached: each evaluation sees everything committed before
it. Only one of the two queries may see a write that commits meanwhile; the reason is always made to
agree with the value.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from aiohttp import web

from segsvc.api.ofrep import store
from segsvc.api.users.reads import Reads
from segsvc.db.batching import Batcher
from segsvc.db.pool import Connection, Pool, connection
from segsvc.db.quotas import Quota


@dataclass(frozen=True, slots=True)
class Flag:
    """A segment as a flag: whether the user is in (`value`), and the protocol's `reason`."""

    key: str
    value: bool
    reason: str

    @property
    def variant(self) -> str:
        """The protocol's name for the value."""
        return "on" if self.value else "off"

    @property
    def metadata(self) -> dict[str, str]:
        """There is none, but clients expect an object."""
        return {}


class Evaluations:
    """Evaluates flags, with `reads` and with connections of `pool`."""

    def __init__(self, reads: Reads, pool: Pool) -> None:
        self._reads = reads
        self._facts: Batcher[tuple[int, str], asyncpg.Record] = Batcher(
            lambda: connection(pool), store.find
        )
        self._live_segments: Batcher[None, dict[str, bool]] = Batcher(
            lambda: connection(pool), _list_live
        )

    async def evaluate(self, user_id: int, slug: str, quota: Quota) -> Flag | None:
        """Return the flag of the live segment `slug`, or None; the user is known from now on.

        Raises:
            QuotaUsedUp: the user is not known, and `quota` has none left.
            Unavailable: the database cannot be used at the moment.
        """
        slugs, facts = await asyncio.gather(
            self._reads.list_now(user_id, quota), self._facts.ask((user_id, slug))
        )
        if not facts["live"]:
            return None
        return _flag(slug, slug in slugs, automatic=facts["automatic"], by_hand=facts["by_hand"])

    async def evaluate_all(self, user_id: int, quota: Quota) -> list[Flag]:
        """Return the flags of all live segments by their slugs; the user is known from now on.

        Raises:
            QuotaUsedUp: the user is not known, and `quota` has none left.
            Unavailable: the database cannot be used at the moment.
        """
        slugs, automatic = await asyncio.gather(
            self._reads.list_now(user_id, quota), self._live_segments.ask(None)
        )
        unclear = [slug for slug in slugs if automatic.get(slug)]
        facts = await asyncio.gather(*(self._facts.ask((user_id, slug)) for slug in unclear))
        by_hand = {slug for slug, fact in zip(unclear, facts, strict=True) if fact["by_hand"]}
        current = set(slugs)
        return [
            _flag(slug, slug in current, automatic=is_automatic, by_hand=slug in by_hand)
            for slug, is_automatic in automatic.items()
        ]

    async def close(self) -> None:
        """Stop at once and cancel what is under way."""
        await self._facts.close()
        await self._live_segments.close()


EVALUATIONS = web.AppKey("evaluations", Evaluations)


@asynccontextmanager
async def opened(reads: Reads, pool: Pool) -> AsyncIterator[Evaluations]:
    """Yield evaluations with `reads` and `pool`, and close them afterwards."""
    evaluations = Evaluations(reads, pool)
    try:
        yield evaluations
    finally:
        await evaluations.close()


def _flag(slug: str, value: bool, *, automatic: bool, by_hand: bool) -> Flag:  # noqa: FBT001
    if value and (by_hand or not automatic):
        return Flag(slug, value, "TARGETING_MATCH")
    return Flag(slug, value, "SPLIT" if automatic else "STATIC")


async def _list_live(conn: Connection, asked: list[None]) -> list[dict[str, bool]]:
    return [await store.list_live(conn)] * len(asked)
