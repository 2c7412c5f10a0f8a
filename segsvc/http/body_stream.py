"""The bytes of a request's body, piece by piece: all of them or an error, never fewer."""

import asyncio
import zlib
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from segsvc.http.app_keys import LIMITS
from segsvc.http.problems import BrokenBody, TooLarge, TooSlow, UnsupportedMediaType

# Bytes that a piece has at most once it is decoded, so that no small body explodes in memory.
PIECE = 64 * 1024

# zlib's name for the gzip format (RFC 1952), with the window that it may use.
GZIP = zlib.MAX_WBITS | 16


async def read(request: web.Request) -> bytes:
    """Return the body of `request`.

    Raises:
        TooLarge: it has more bytes than allowed, and whatever `pieces` raises.
    """
    limit = request.app[LIMITS].body
    body = bytearray()
    async for piece in pieces(request):
        body += piece
        if len(body) > limit:
            raise TooLarge(f"the limit is {limit} bytes")
    return bytes(body)


async def pieces(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the body of `request` as it arrives, plain or out of gzip.

    The framework's own decoding is off: it takes a gzip file that is cut short for a whole one.

    Raises:
        UnsupportedMediaType: the Content-Encoding is another.
        BrokenBody: the body does not arrive whole.
        TooSlow: the client stalls.
    """
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"gzip", "identity"}:
        raise UnsupportedMediaType("send the body as it is, or with the Content-Encoding gzip")
    try:
        async for piece in _received(request) if encoding == "identity" else _gunzipped(request):
            yield piece
    except (web.RequestPayloadError, BadHttpMessage, ConnectionError, zlib.error) as error:
        raise BrokenBody("the body does not arrive whole in its Content-Encoding") from error


async def _received(request: web.Request) -> AsyncIterator[bytes]:
    patience = request.app[LIMITS].stall_seconds
    while True:
        try:
            async with asyncio.timeout(patience):
                piece = await request.content.readany()
        except TimeoutError:
            raise TooSlow(f"nothing came for {patience} seconds") from None
        if not piece:
            return
        yield piece


async def _gunzipped(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the members of a gzip file, one after the other (RFC 1952, section 2.2)."""
    decoder = zlib.decompressobj(GZIP)
    async for data in _received(request):
        piece = b""
        while data or len(piece) == PIECE:  # a full piece may have left some behind, in the decoder
            if decoder.eof:
                decoder = zlib.decompressobj(GZIP)
            piece = decoder.decompress(data, PIECE)
            data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail  # noqa: PLW2901
            if piece:
                yield piece
    if not decoder.eof:
        raise zlib.error("cut short")
