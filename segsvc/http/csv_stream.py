"""CSV on its way from COPY to a client, as fast as the client takes it."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import asyncpg
from aiohttp import web

from segsvc.db.pool import Connection
from segsvc.http.app_keys import LIMITS
from segsvc.http.responses import EVERY_ANSWER
from segsvc.observability.request_ids import CURRENT, REQUEST_ID

Sink = Callable[[bytes], Coroutine[Any, Any, None]]

log = logging.getLogger(__name__)


async def stream_csv(
    request: web.Request,
    conn: Connection,
    file_name: str,
    copy: Callable[[Sink], Awaitable[None]],
) -> web.StreamResponse:
    """Answer with what `copy` sends from `conn`, compressed for those who accept it.

    An error before the first piece is raised, and has an answer; a later one breaks the transfer
    off, so that what arrived cannot pass for the whole.
    """
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{file_name}"',
            "Cache-Control": "private, no-store",
            "Vary": "Accept, Accept-Encoding",
            **EVERY_ANSWER,
        }
    )
    if ids := CURRENT.get():
        response.headers[REQUEST_ID] = ids.request_id
    if request.method == "HEAD":
        return response
    if offers(request, "Accept-Encoding", "gzip"):
        response.enable_compression(web.ContentCoding.gzip)

    patience = request.app[LIMITS].stall_seconds

    async def send(piece: bytes) -> None:
        async with asyncio.timeout(patience):
            # The status goes out with the first piece: an error before it has an answer.
            if not response.prepared:
                await response.prepare(request)
            await response.write(piece)

    try:
        await copy(send)
    except BaseException as error:
        if response.prepared and request.transport is not None:
            request.transport.abort()
        with suppress(asyncpg.InterfaceError):  # which it raises if it is closed already
            conn.terminate()  # or PostgreSQL would go on with what nobody takes
        if not response.prepared or not isinstance(error, Exception):
            raise
        log.warning("%s broke off: %r", request.rel_url.raw_path, error)
    return response


def offers(request: web.Request, header: str, value: str) -> bool:
    """Return whether a header names `value`, and not with the weight 0, which refuses it.

    The headers are those of content negotiation (RFC 9110, section 12.5).
    """
    named = rf"(^|[\s,]){re.escape(value)}(?!\s*;\s*q=0(\.0*)?\s*(,|$))\s*(,|;|$)"
    return re.search(named, request.headers.get(header, "").lower()) is not None
