"""Connections of clients: how many there may be, and what answers a request that is not HTTP."""

import asyncio
import logging
from math import inf
from typing import Any, cast

from aiohttp import web

from segsvc.http import problems
from segsvc.http.responses import add_common_headers, problem_response
from segsvc.observability import request_ids
from segsvc.server.open_files import REFUSED_CLIENTS

log = logging.getLogger(__name__)

# Seconds in which a refused client must send something; then the connection is closed.
FIRST_BYTE_TIMEOUT = 5

# Seconds without a request after which a connection gives way to a new one, if all are taken: one
# that never had a request, and one that had.
SILENT_TIME = 1
SPARE_TIME = 5

# Seconds without a request after which a connection is closed. Proxies keep theirs for a minute.
KEEPALIVE_TIMEOUT = 75


class Connections:
    """The protocol factory of a server that listens: it decides which clients are served.

    If as many as allowed are connected, one that has asked nothing for a while gives way, so that
    clients who connect and send nothing keep nobody out. Otherwise the new one is answered 503.
    """

    def __init__(
        self, server: web.Server, handler_args: dict[str, Any], most: int, most_per_address: int
    ) -> None:
        """Serve `most` clients at once; `handler_args` are those of the application."""
        self._server = server
        self._handler_args = handler_args | {"keepalive_timeout": KEEPALIVE_TIMEOUT}
        self._most = most
        self._most_per_address = most_per_address
        self._refused: set[asyncio.BaseProtocol] = set()

    def __call__(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""
        loop = asyncio.get_running_loop()
        return _Connection(self, self._server, loop=loop, **self._handler_args)

    def refuse(self, transport: asyncio.Transport) -> bool:
        """Return whether a new connection is one too many, and if so, take it over."""
        served = cast("list[_Connection]", self._server.connections)
        limits = [(served, self._most)]
        if self._most_per_address < self._most:
            address = transport.get_extra_info("peername")[0]
            served_there = [each for each in served if each.address == address]
            limits.insert(0, (served_there, self._most_per_address))
        if all(len(group) < most or _closed_one(group) for group, most in limits):
            return False
        if len(self._refused) >= REFUSED_CLIENTS:
            transport.abort()
        refusal = _Refusal(self._refused)
        transport.set_protocol(refusal)
        refusal.connection_made(transport)
        return True


def _closed_one(connections: "list[_Connection]") -> bool:
    """Close the one of `connections` that has asked nothing for longest, if that is long.

    Those that have never asked anything come first.
    """
    now = asyncio.get_running_loop().time()
    spare = [
        each
        for each in connections
        if now - each.spare_since > (SPARE_TIME if each.has_asked else SILENT_TIME)
    ]
    if not spare:
        return False
    min(spare, key=lambda each: (each.has_asked, each.spare_since)).force_close()
    return True


class _Connection(web.RequestHandler):
    """One client. aiohttp's own answers get the form and the headers of all others."""

    __slots__ = ("_connections",)

    def __init__(self, connections: Connections, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._connections = connections

    @property
    def address(self) -> str:
        """The address of the client."""
        return str(self.peername[0]) if self.peername else ""

    @property
    def has_asked(self) -> bool:
        """Whether it ever had a request."""
        return self._request_count > 0

    @property
    def spare_since(self) -> float:
        """When the last request ended, or the connection began; infinity during a request."""
        if self._request_in_progress or self._force_close:
            return inf
        return self._next_keepalive_close_time - KEEPALIVE_TIMEOUT

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._connections.refuse(cast("asyncio.Transport", transport)):
            super().connection_made(transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP, and repeat it nowhere: it may contain keys."""
        del message
        problem: problems.Problem
        if status == problems.MalformedRequest.status:
            problem = problems.MalformedRequest()
        else:
            log.error("%s failed", request.method, exc_info=exc)
            problem = problems.InternalError()
        response = problem_response(problem)
        response.force_close()
        add_common_headers(response, request_ids.new())
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPException):  # for `Expect`, which comes before the middlewares
            resp = problem_response(problems.UnsupportedExpectation())
            add_common_headers(resp, request_ids.new())
        return await super().finish_response(request, resp, start_time)


class _Refusal(asyncio.Protocol):
    """Answers the first request with 503 and closes the connection."""

    def __init__(self, under_way: set[asyncio.BaseProtocol]) -> None:
        self._under_way = under_way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._under_way.add(self)
        self._transport = cast("asyncio.Transport", transport)
        self._end = asyncio.get_running_loop().call_later(FIRST_BYTE_TIMEOUT, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        del data
        self._transport.write(_answer())
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._under_way.discard(self)
        self._end.cancel()


def _answer() -> bytes:
    problem = problems.Busy("as many clients as allowed are connected: try again in a moment")
    response = problem_response(problem)
    add_common_headers(response, request_ids.new())
    body = cast("bytes", response.body)
    response.headers.update({"Content-Length": str(len(body)), "Connection": "close"})
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
