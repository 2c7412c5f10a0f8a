"""The API keys in memory, so that checking one costs no query."""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf
from typing import Self

from aiohttp import web
from aiohttp.hdrs import AUTHORIZATION

from segsvc.auth import store
from segsvc.auth.roles import Role
from segsvc.db.pool import FAULTS, KeptConnection, Unavailable
from segsvc.http.problems import EditorRequired, FollowerRequired, KeyRequired
from segsvc.observability import metrics

log = logging.getLogger(__name__)

# Seconds between two readings of the keys, and the age of a list that is no longer used: the
# longest time for which a revoked key is accepted.
REFRESH_INTERVAL = 1.0
MAX_AGE = 2.0

# Seconds between two queries for a key that is not in memory and may be new.
LOOKUP_INTERVAL = 0.5

# Headers that are remembered. A key has many: spaces around it do not count.
MAX_CALLERS = 1000

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
ROLE = web.RequestKey("role", Role)

# The name of the key with which a session of the console was opened.
SESSION = web.RequestKey("session", str)


class KeyCache:
    """The keys as of a moment ago. Until the first key exists, `anonymous` opens everything.

    They are read on a connection of their own: requests never delay a revocation. A list that is
    older than `MAX_AGE` is not used.
    """

    def __init__(self, kept: KeptConnection, *, anonymous: bool) -> None:
        self._kept = kept
        self._anonymous = anonymous
        self._keys: dict[str, store.Key] = {}
        # Callers by their headers, until the keys are read again.
        self._callers: dict[str | None, Caller] = {}
        self._read_at = -inf
        self._failed_at = -inf
        self._failure = Unavailable()
        self._reading = asyncio.Lock()

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
        await self._read(0)
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
            try:
                await self._read(0)
            except Unavailable as error:
                FAULTS.found("keys", f"the API keys cannot be read, requests are refused: {error}")
            except Exception:  # the next reading may succeed
                log.exception("the API keys cannot be read, requests are refused")
            metrics.KEY_LIST_AGE.set(_now() - self._read_at)

    async def _read(self, age: float) -> None:
        """Read the keys, unless the list is younger than `age` by now: one query for all who wait.

        Raises:
            Unavailable: the database cannot be used, or could not a moment ago.
        """
        async with self._reading:
            asked_at = _now()
            if asked_at - self._read_at < age:
                return
            if asked_at - self._failed_at < min(age, LOOKUP_INTERVAL):
                raise type(self._failure)(*self._failure.args)
            try:
                async with asyncio.timeout(MAX_AGE), self._kept.lend() as conn:
                    self._keys = {key.name: key for key in await store.list_all(conn)}
                    self._callers = {}
            except TimeoutError as error:
                self._failed_at = _now()
                self._failure = Unavailable("the API keys could not be read in time")
                raise self._failure from error
            except Unavailable as error:
                self._failed_at, self._failure = _now(), error
                raise
            self._read_at = asked_at

    def recall(self, authorization: str | None) -> Caller | None:
        """Return the sender if a request with this header was accepted since the keys were read."""
        caller = self._callers.get(authorization)
        return caller if caller and _now() - self._read_at <= MAX_AGE else None

    async def caller(self, authorization: str | None) -> Caller:
        """Return the sender of a request with this `Authorization` header (RFC 6750).

        Raises:
            KeyRequired: the header has no valid key.
            Unavailable: the list is too old, or the key may be a new one, and the database does
                not answer.
        """
        if _now() - self._read_at > MAX_AGE:
            await self._read(MAX_AGE)
        if self.open:
            return ANONYMOUS
        if authorization is None or not authorization.startswith(BEARER):
            raise KeyRequired("send a key, in the header Authorization: Bearer KEY")
        name, _, secret = authorization.removeprefix(BEARER).strip().partition(".")
        if name not in self._keys:  # it may be new
            await self._read(LOOKUP_INTERVAL)
        key = self._keys.get(name)
        hashed = store.hash_of(secret)
        if key and hmac.compare_digest(key.hash, hashed) and key.revoked_at is None:
            caller = Caller(key.name, key.role)
            if len(self._callers) < MAX_CALLERS:
                self._callers[authorization] = caller
            return caller
        raise KeyRequired("the key is not known, or was revoked: ask the operator for another")

    async def caller_of(self, name: str) -> Caller | None:
        """Return the owner of the key with this name, None if it is not valid.

        Raises:
            Unavailable: the list is too old, and the database does not answer.
        """
        if _now() - self._read_at > MAX_AGE:
            await self._read(MAX_AGE)
        key = self._keys.get(name)
        return Caller(key.name, key.role) if key and key.revoked_at is None else None


async def identify(request: web.Request, role: Role) -> str | None:
    """Return the name of the key that sends `request`, which needs one with `role`.

    None: no key is needed.

    Raises:
        KeyRequired: it has no valid key.
        EditorRequired, FollowerRequired: the key has a lesser role than is needed.
        Unavailable: the keys cannot be read.
    """
    keys = request.app[KEY_CACHE]
    authorization = request.headers.get(AUTHORIZATION)
    # Remembered, in 0.8 microseconds, or with a hash of the secret, in 5.8.
    caller = keys.recall(authorization) or await keys.caller(authorization)
    if role is not Role.READER and not caller.role.does(role):
        needed = EditorRequired if role is Role.EDITOR else FollowerRequired
        raise needed(str(caller.name), caller.role)
    request[CALLER], request[ROLE] = caller, role
    return caller.name


async def identify_again(request: web.Request) -> None:
    """Do it once more after a body has arrived: the key may have been revoked meanwhile."""
    if SESSION in request:
        if await request.app[KEY_CACHE].caller_of(request[SESSION]) is None:
            raise KeyRequired("the key of the session was revoked; nothing was changed")
    elif ROLE in request:
        await identify(request, request[ROLE])


def actor(request: web.Request) -> str | None:
    """Return the name of the key of `request`, which is stored with the changes it makes."""
    return request[CALLER].name


KEY_CACHE = web.AppKey("key_cache", KeyCache)


def _now() -> float:
    return asyncio.get_running_loop().time()
