"""The door: so many clients may be in at once, and whoever comes then is told to come back."""

import asyncio
import json
from collections.abc import Callable
from typing import cast

from aiohttp import web

from segsvc.http.problems import Busy

# Seconds in which whoever is turned away must say something, to be answered.
PATIENCE = 5


def _answer() -> bytes:
    problem = Busy("as many clients as allowed are connected: try again in a moment")
    body = json.dumps(problem.document()).encode() + b"\n"
    head = (
        f"HTTP/1.1 {problem.status} Service Unavailable\r\n"
        "Content-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Retry-After: {problem.headers['Retry-After']}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


class _TurnedAway(asyncio.Protocol):
    """Answers the first request with 503, whatever it is, and closes."""

    ANSWER = _answer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is no subclass
        self._end = asyncio.get_running_loop().call_later(PATIENCE, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        del data
        self._transport.write(self.ANSWER)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._end.cancel()


def door(server: web.Server, most: int) -> Callable[[], asyncio.BaseProtocol]:
    """Return what makes a protocol for each client that connects, for `loop.create_server`."""

    def enter() -> asyncio.BaseProtocol:
        return server() if len(server.connections) < most else _TurnedAway()

    return enter
