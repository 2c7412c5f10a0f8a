"""The keys that are good, held in memory, so that checking one costs no query."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self

from aiohttp import web

from segsvc.auth import store
from segsvc.db.pool import Pool, Unavailable, connection
from segsvc.http.problems import KeyRequired

# Seconds after which a revoked key is dead, at the latest, while the database answers.
REFRESH_INTERVAL = 2.0

# Seconds between two looks for a key that is not known here, and may have just been made.
PATIENCE = 0.5

BEARER = "Bearer "


class AnonymousRefused(Exception):  # noqa: N818 (a state of the database, not a mistake)
    """There is no key yet, and the service may not be open to everyone."""


@dataclass(frozen=True)
class Caller:
    """Whoever sent a request: the name of the key, None without one, and the role."""

    name: str | None
    role: str


ANYONE = Caller(None, store.EDITOR)
CALLER = web.RequestKey("caller", Caller)


class KeyCache:
    """The keys as of a moment ago. While there has never been one, `anonymous` opens everything."""

    def __init__(self, pool: Pool, *, anonymous: bool) -> None:
        self._pool = pool
        self._anonymous = anonymous
        self._keys: dict[str, store.Key] = {}
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    @property
    def open(self) -> bool:
        """Whether everyone may do everything."""
        return not self._keys and self._anonymous

    @asynccontextmanager
    async def kept_fresh(self) -> AsyncIterator[Self]:
        """Read the keys, and again and again for as long as the service runs.

        Raises:
            AnonymousRefused: there is none, and nobody may do without.
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
            with suppress(Unavailable):  # then nothing else can be read either
                await self._read()

    async def _read(self) -> None:
        async with connection(self._pool) as conn:
            self._keys = {key.name: key for key in await store.list_all(conn)}
        self._read_at = asyncio.get_running_loop().time()

    async def caller(self, authorization: str | None) -> Caller:
        """Return who sends a request with this `Authorization` header (RFC 6750).

        Raises:
            KeyRequired: nobody that is known.
            Unavailable: the key may be a new one, and the database cannot be asked.
        """
        if self.open:
            return ANYONE
        if authorization is None or not authorization.startswith(BEARER):
            raise KeyRequired("send a key, in the header Authorization: Bearer KEY")
        name, _, secret = authorization.removeprefix(BEARER).strip().partition(".")
        if name not in self._keys:
            await self._look_again(name)
        key = self._keys.get(name)
        hashed = store.hash_of(secret)
        if key and hmac.compare_digest(key.hash, hashed) and key.revoked_at is None:
            return Caller(key.name, key.role)
        raise KeyRequired("the key is not known, or was revoked: ask the operator for another")

    async def _look_again(self, name: str) -> None:
        """Read the keys for one that may be new, once for all who wait, and not too often."""
        async with self._reading:
            age = asyncio.get_running_loop().time() - self._read_at
            if name not in self._keys and age > PATIENCE:
                await self._read()


def actor(request: web.Request) -> str | None:
    """Return the name of the key that `request` bears, to be recorded with what it does."""
    return request[CALLER].name


KEY_CACHE = web.AppKey("keyring", KeyCache)
