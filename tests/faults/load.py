"""Clients that write and read without a pause, also while the service fails."""

import asyncio
import random
import time
from collections import Counter
from typing import Self

from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.faults.ledger import AUTOMATIC, MANUAL, Ledger, Write, now
from tests.processes import TIMEOUT

CLIENTS = 16
USERS_EACH = 25
USERS = CLIENTS * USERS_EACH

# Seconds within which the service answers every client again after a fault has ended.
BOUND = 15

# Seconds: what a client waits before it repeats a request.
PAUSE = 0.2


class Load:
    """Concurrent clients, each with users of its own, whose writes are one after another.

    A write without an answer is repeated until it has one, or it stays the last of its user.
    """

    def __init__(self, url: str) -> None:
        self.ledger = Ledger()
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._url = url
        self._stopped = False
        self._started = 0.0
        self._rounds = [0.0] * CLIENTS

    async def __aenter__(self) -> Self:
        self._session = ClientSession(self._url, timeout=ClientTimeout(total=BOUND))
        for segment in ({"slug": MANUAL}, {"slug": AUTOMATIC, "percent": 50}):
            async with self._session.post("/api/v1/segments", json=segment) as response:
                assert response.status == 201
        self._started = time.monotonic()
        self._clients = [asyncio.create_task(self._write_on(n)) for n in range(CLIENTS)]
        await self.all_answered()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped = True
        await asyncio.gather(*self._clients)
        await self._session.close()
        self.seconds = time.monotonic() - self._started

    async def all_answered(self) -> float:
        """Wait until every client has had a write and a read, sent from now on, done.

        Return the seconds that it took.
        """
        started = time.monotonic()
        async with asyncio.timeout(BOUND):
            while min(self._rounds) < started:  # noqa: ASYNC110 (of sixteen clients)
                await asyncio.sleep(0.01)
        return time.monotonic() - started

    async def more(self, number: int, what: str) -> None:
        """Wait until so many more of these answers have come."""
        enough = self.answers[what] + number
        async with asyncio.timeout(TIMEOUT):
            while self.answers[what] < enough:  # noqa: ASYNC110 (whichever client gets them)
                await asyncio.sleep(0.01)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in sorted(self.answers.items()))
        rate = (self.answers["write"] + self.answers["read"]) / self.seconds
        return f"{rate:.0f} requests done a second for {self.seconds:.1f} s ({counts})"

    async def _write_on(self, client: int) -> None:
        chance = random.Random(client)
        users = [1 + client * USERS_EACH + n for n in range(USERS_EACH)]
        while not self._stopped:
            started = time.monotonic()
            user_id = chance.choice(users)
            write = _draw(chance, user_id)
            self.ledger.writes[user_id].append(write)
            while True:
                segments = await self._write(write)
                read = await self._read(user_id)
                if segments is not None:
                    if read is not None:
                        self._rounds[client] = started
                        self._hold(read == segments, f"{write} and then {read}")
                    break
                if self._stopped:
                    return
                if len(users) > USERS_EACH / 2 and chance.random() < 0.5:
                    users.remove(user_id)
                    break
                await asyncio.sleep(PAUSE)

    async def _write(self, write: Write) -> list[str] | None:
        """Return the segments in the answer, None without one."""
        path = f"/api/v1/users/{write.user_id}/segments"
        segments = await self._send("write", "POST", path, write.body)
        if segments is not None:
            write.answered_at = now()
        return segments

    async def _read(self, user_id: int) -> list[str] | None:
        return await self._send("read", "GET", f"/api/v1/users/{user_id}/segments")

    async def _send(
        self, what: str, method: str, path: str, body: object = None
    ) -> list[str] | None:
        try:
            async with self._session.request(method, path, json=body) as response:
                answer = await response.json(content_type=None)
        except (ClientError, TimeoutError):
            self.answers[f"{what} cut off"] += 1
            return None
        if response.status == 200:
            self.answers[what] += 1
            # A file may put the user into another segment between two answers.
            return [slug for slug in answer["segments"] if slug in {MANUAL, AUTOMATIC}]
        self.answers[f"{what} answered {response.status}"] += 1
        sound = response.status == 503 and "Retry-After" in response.headers
        self._hold(sound, f"{method} {path}: {response.status} {answer}")
        return None

    def _hold(self, sound: bool, otherwise: str) -> None:  # noqa: FBT001
        if not sound:
            self.wrong.append(otherwise)


def _draw(chance: random.Random, user_id: int) -> Write:
    """Draw a change of both segments, most often into one and out of the other."""
    slugs = [MANUAL, AUTOMATIC]
    chance.shuffle(slugs)
    kind = chance.random()
    add, remove = (
        (slugs[:1], slugs[1:]) if kind < 0.6 else (slugs, []) if kind < 0.8 else ([], slugs)
    )
    ttl = chance.randrange(3600, 36000) if add and chance.random() < 0.4 else None
    return Write(user_id, add, remove, ttl)
