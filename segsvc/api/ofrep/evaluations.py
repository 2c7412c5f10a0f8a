"""Evaluation of flags: whether a user is in a segment, and by what.

Value and reason come from one statement, in batches on kept connections, like the reads of current
segments. Nothing is cached: each evaluation sees everything that was committed before it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from aiohttp import web

from segsvc.api.ofrep import store
from segsvc.api.users.reads import Reads
from segsvc.db.batching import Batcher
from segsvc.db.pool import KeptConnection
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
    """Evaluates flags: single ones on one kept connection, all flags of a user on another."""

    def __init__(self, single: KeptConnection, all_flags: KeptConnection, reads: Reads) -> None:
        """`reads` make users known."""
        self._reads = reads
        self._flags: Batcher[tuple[int, str], asyncpg.Record] = Batcher(single.lend, store.evaluate)
        self._all_flags: Batcher[int, asyncpg.Record] = Batcher(all_flags.lend, store.evaluate_all)

    async def evaluate(self, user_id: int, slug: str, quota: Quota) -> Flag | None:
        """Return the flag of the live segment `slug`, or None; the user is known from now on.

        Raises:
            QuotaUsedUp: the user is not known, and `quota` has none left.
            Unavailable: the database cannot be used at the moment.
        """
        row = await self._flags.ask((user_id, slug))
        if not row["known"]:
            await self._reads.make_known(user_id, quota)
        return _flag(slug, row["automatic"], row["by_hand"], row["member"]) if row["live"] else None

    async def evaluate_all(self, user_id: int, quota: Quota) -> list[Flag]:
        """Return the flags of all live segments by their slugs; the user is known from now on.

        Raises:
            QuotaUsedUp: the user is not known, and `quota` has none left.
            Unavailable: the database cannot be used at the moment.
        """
        row = await self._all_flags.ask(user_id)
        if not row["known"]:
            await self._reads.make_known(user_id, quota)
        columns = [row[name] or () for name in ("slugs", "automatic", "by_hand", "member")]
        return [_flag(*values) for values in zip(*columns, strict=True)]

    async def close(self) -> None:
        """Stop at once and cancel what is under way."""
        await self._flags.close()
        await self._all_flags.close()


EVALUATIONS = web.AppKey("evaluations", Evaluations)


@asynccontextmanager
async def opened(dsn: str, reads: Reads) -> AsyncIterator[Evaluations]:
    """Yield evaluations in the database at `dsn`, and close them afterwards."""
    async with KeptConnection(dsn) as single, KeptConnection(dsn) as all_flags:
        evaluations = Evaluations(single, all_flags, reads)
        try:
            yield evaluations
        finally:
            await evaluations.close()


def _flag(slug: str, automatic: bool, by_hand: bool, member: bool) -> Flag:  # noqa: FBT001 (a row)
    if member and (by_hand or not automatic):
        return Flag(slug, member, "TARGETING_MATCH")
    return Flag(slug, member, "SPLIT" if automatic else "STATIC")
