"""Connection limit: answer 503 to clients above the limit."""

import asyncio
import json
from collections.abc import Callable
from typing import cast

from aiohttp import web

from segsvc.http.problems import Busy

# Seconds in which a refused client must send something; then the connection is closed.
FIRST_BYTE_TIMEOUT = 5


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


class _Refused(asyncio.Protocol):
    """Answers the first request with 503 and closes the connection."""

    ANSWER = _answer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            asyncio.WriteTransport, transport
        )  # uvloop's class is not a subclass
        self._end = asyncio.get_running_loop().call_later(FIRST_BYTE_TIMEOUT, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        del data
        self._transport.write(self.ANSWER)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._end.cancel()


def limit_connections(server: web.Server, most: int) -> Callable[[], asyncio.BaseProtocol]:
    """Return a protocol factory for `loop.create_server` that serves `most` clients at once."""

    def connect() -> asyncio.BaseProtocol:
        return server() if len(server.connections) < most else _Refused()

    return connect
