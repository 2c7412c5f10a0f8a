"""Long responses, streamed as fast as the client reads."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import asyncpg
from aiohttp import HttpVersion11, web

from segsvc.db.pool import Connection
from segsvc.db.values import Sink
from segsvc.http.app_keys import LIMITS
from segsvc.http.responses import COMMON_HEADERS
from segsvc.observability.request_ids import CURRENT, REQUEST_ID

log = logging.getLogger(__name__)


Produce = Callable[[Sink], Awaitable[None]]


async def stream_csv(
    request: web.Request,
    conn: Connection,
    file_name: str,
    copy: Produce,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Answer with the output of COPY from `conn`, as a file; see `stream`."""
    of_a_file = {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{file_name}"',
    }
    return await stream(request, conn, of_a_file | dict(headers or {}), copy)


async def stream(
    request: web.Request, conn: Connection, headers: Mapping[str, str], produce: Produce
) -> web.StreamResponse:
    """Answer with what `produce` reads from `conn`, compressed if the client accepts gzip.

    An error before the first piece is raised and becomes a problem document. A later error aborts
    the transfer, so that the client cannot take the part that arrived for the whole.
    """
    own = {"Cache-Control": "private, no-store", "Vary": "Accept, Accept-Encoding", **headers}
    if request.method == "HEAD":
        return web.Response(headers=own)
    response = web.StreamResponse(headers=own | COMMON_HEADERS)
    if ids := CURRENT.get():
        response.headers[REQUEST_ID] = ids.request_id
    if request.version < HttpVersion11:
        response.force_close()  # without chunks, the end of the connection is the end of the body
    if accepts(request, "Accept-Encoding", "gzip"):
        response.enable_compression(web.ContentCoding.gzip)

    stall_timeout = request.app[LIMITS].stall_seconds

    async def send(piece: bytes) -> None:
        async with asyncio.timeout(stall_timeout):
            # The status goes out with the first piece: an earlier error gets its own status.
            if not response.prepared:
                await response.prepare(request)
            await response.write(piece)

    try:
        await produce(send)
    except BaseException as error:
        if response.prepared and request.transport is not None:
            request.transport.abort()
        with suppress(asyncpg.InterfaceError):  # raised if the connection is closed already
            conn.terminate()  # stops a statement whose output nobody reads
        if not response.prepared or not isinstance(error, Exception):
            raise
        log.warning("%s broke off: %r", request.rel_url.raw_path, error)
    return response


def accepts(request: web.Request, header: str, value: str) -> bool:
    """Return whether a header names `value` with a weight above 0.

    The headers are those of content negotiation (RFC 9110, section 12.5).
    """
    named = rf"(^|[\s,]){re.escape(value)}(?!\s*;\s*q=0(\.0*)?\s*(,|$))\s*(,|;|$)"
    return re.search(named, request.headers.get(header, "").lower()) is not None
