"""`/reports`: links to the CSV of a month, and the CSV itself."""

import asyncio
import logging
import re
from contextlib import suppress

import asyncpg
from aiohttp import web

from segsvc.answers import json_response, rfc3339
from segsvc.database import POOL, connection
from segsvc.inputs import pointer, read_body
from segsvc.problems import Busy, Forbidden, InvalidRequest
from segsvc.reports import links, store
from segsvc.reports.schemas import NEW_REPORT
from segsvc.reports.settings import REPORTS

# Seconds in which a client must take what it is sent; one that stalls for longer is cut off.
STALL_TIMEOUT = 30

log = logging.getLogger(__name__)


async def create_report(request: web.Request) -> web.Response:
    """`POST /reports`: makes a link; nothing is stored."""
    report = await read_body(request, NEW_REPORT)
    async with connection(request.app[POOL]) as conn:
        now = await store.now(conn)
    if report.month.start > now:
        detail = "has not begun yet (months are UTC)"
        raise InvalidRequest([{"pointer": pointer("period"), "detail": detail}])
    settings = request.app[REPORTS]
    expires_at = (now + links.LIFETIME).replace(microsecond=0)
    base = settings.public_url or f"{request.scheme}://{request.host}"
    url = f"{base}{request.path}/{links.sign(report, expires_at, settings.secret)}"
    return json_response(
        {"url": url, "expires_at": rfc3339(expires_at)}, status=201, headers={"Location": url}
    )


async def download_report(request: web.Request) -> web.StreamResponse:
    """`GET /reports/{period}.csv`: the CSV, streamed, to those who have the link."""
    settings = request.app[REPORTS]
    if settings.slots.locked():
        raise Busy("as many reports as allowed are being made: try again in a moment")
    async with settings.slots, connection(settings.pool) as conn:
        given = f"{request.match_info['period']}.csv?{request.rel_url.raw_query_string}"
        try:
            report = links.verify(given, await store.now(conn), settings.secret)
        except links.LinkRefused as error:
            raise Forbidden(str(error)) from None
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": f'attachment; filename="{report.file_name}"',
                "Cache-Control": "private, no-store",
                "Vary": "Accept-Encoding",
            }
        )
        if request.method == "HEAD":
            return response
        if _accepts_gzip(request):
            response.enable_compression(web.ContentCoding.gzip)

        async def send(piece: bytes) -> None:
            async with asyncio.timeout(STALL_TIMEOUT):
                # The status goes out with the first piece: an error before it has an answer.
                if not response.prepared:
                    await response.prepare(request)
                await response.write(piece)

        try:
            await store.copy(conn, report, send)
        except BaseException as error:
            if response.prepared and request.transport is not None:
                request.transport.abort()  # so that what arrived cannot pass for the whole
            with suppress(asyncpg.InterfaceError):  # which it raises if it is closed already
                conn.terminate()  # or PostgreSQL would go on with what nobody takes
            if not response.prepared or not isinstance(error, Exception):
                raise
            log.warning("%s broke off: %r", request.path, error)
    return response


def _accepts_gzip(request: web.Request) -> bool:
    """Return whether gzip is offered, and not with the weight 0, which refuses it (RFC 9110)."""
    offers = request.headers.get("Accept-Encoding", "").lower()
    return re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", offers) is not None
