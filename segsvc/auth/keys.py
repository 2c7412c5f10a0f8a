"""The API keys in memory, so that checking one costs no query."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self

from aiohttp import web

from segsvc.auth import store
from segsvc.auth.roles import Role
from segsvc.db.pool import Pool, Unavailable, connection
from segsvc.http.problems import KeyRequired

# Seconds: the longest time for which a revoked key is still accepted, while the database answers.
REFRESH_INTERVAL = 2.0

# Seconds between two queries for a key that is not in memory and may be new.
LOOKUP_INTERVAL = 0.5

BEARER = "Bearer "


class AnonymousRefused(Exception):  # noqa: N818 (a state of the database, not a mistake)
    """There is no key yet, and anonymous use is not allowed."""


@dataclass(frozen=True)
class Caller:
    """The sender of a request: the name of the key, None without a key, and the role."""

    name: str | None
    role: Role


ANONYMOUS = Caller(None, Role.EDITOR)
CALLER = web.RequestKey("caller", Caller)


class KeyCache:
    """The keys as of a moment ago. Until the first key exists, `anonymous` opens everything."""

    def __init__(self, pool: Pool, *, anonymous: bool) -> None:
        self._pool = pool
        self._anonymous = anonymous
        self._keys: dict[str, store.Key] = {}
        self._read_at = 0.0
        self._lookup = asyncio.Lock()

    @property
    def open(self) -> bool:
        """Whether everyone may do everything."""
        return not self._keys and self._anonymous

    @asynccontextmanager
    async def refreshed(self) -> AsyncIterator[Self]:
        """Read the keys now, and every `REFRESH_INTERVAL` inside the context.

        Raises:
            AnonymousRefused: there is no key, and anonymous use is not allowed.
            Unavailable: the database cannot be used.
        """
        await self._read()
        if not self._keys and not self._anonymous:
            raise AnonymousRefused
        refreshing = asyncio.create_task(self._refresh())
        try:
            yield self
        finally:
            refreshing.cancel()
            with suppress(asyncio.CancelledError):
                await refreshing

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_INTERVAL)
            with suppress(Unavailable):  # then no request can read anything either
                await self._read()

    async def _read(self) -> None:
        async with connection(self._pool) as conn:
            self._keys = {key.name: key for key in await store.list_all(conn)}
        self._read_at = asyncio.get_running_loop().time()

    async def caller(self, authorization: str | None) -> Caller:
        """Return the sender of a request with this `Authorization` header (RFC 6750).

        Raises:
            KeyRequired: the header has no valid key.
            Unavailable: the key may be a new one, and the database does not answer.
        """
        if self.open:
            return ANONYMOUS
        if authorization is None or not authorization.startswith(BEARER):
            raise KeyRequired("send a key, in the header Authorization: Bearer KEY")
        name, _, secret = authorization.removeprefix(BEARER).strip().partition(".")
        if name not in self._keys:
            await self._look_up(name)
        key = self._keys.get(name)
        hashed = store.hash_of(secret)
        if key and hmac.compare_digest(key.hash, hashed) and key.revoked_at is None:
            return Caller(key.name, key.role)
        raise KeyRequired("the key is not known, or was revoked: ask the operator for another")

    async def _look_up(self, name: str) -> None:
        """Read the keys again for a name that may be new: one query for all who wait."""
        async with self._lookup:
            age = asyncio.get_running_loop().time() - self._read_at
            if name not in self._keys and age > LOOKUP_INTERVAL:
                await self._read()


def actor(request: web.Request) -> str | None:
    """Return the name of the key of `request`, which is stored with the changes it makes."""
    return request[CALLER].name


KEY_CACHE = web.AppKey("key_cache", KeyCache)
