"""The body of a request, piece by piece: the whole body or an error."""

import asyncio
import zlib
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from segsvc.http.app_keys import LIMITS
from segsvc.http.problems import BrokenBody, TooLarge, TooSlow, UnsupportedMediaType

# Bytes of a decoded piece at most, so that a small compressed body does not fill the memory.
MAX_PIECE = 64 * 1024

# Bytes of a block as it is received. Blocks do not depend on how the network split the body, so the
# same bytes get the same answer.
BLOCK = 64 * 1024

# zlib's name for the gzip format (RFC 1952), with the largest window.
GZIP = zlib.MAX_WBITS | 16


async def read(request: web.Request) -> bytes:
    """Return the body of `request`.

    Raises:
        TooLarge: the decoded body is over the limit.
        Problem: what `pieces` raises.
    """
    limit = request.app[LIMITS].body
    body = bytearray()
    async for piece in pieces(request):
        body += piece
        if len(body) > limit:
            raise TooLarge(f"the limit is {limit} bytes")
    return bytes(body)


async def pieces(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the body of `request` as it arrives, decoded if it is gzip.

    aiohttp's own decoding is off: it accepts a gzip body that is cut short.

    Raises:
        UnsupportedMediaType: the Content-Encoding is neither gzip nor identity.
        BrokenBody: the body is cut short, or is not in its Content-Encoding.
        TooSlow: the client stalls.
    """
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"gzip", "identity"}:
        raise UnsupportedMediaType("send the body as it is, or with the Content-Encoding gzip")
    try:
        received = _received(request)
        async for piece in received if encoding == "identity" else gunzip(received):
            yield piece
    except (web.RequestPayloadError, BadHttpMessage, ConnectionError, zlib.error) as error:
        raise BrokenBody("the body does not arrive whole in its Content-Encoding") from error


async def _received(request: web.Request) -> AsyncIterator[bytes]:
    stall_timeout = request.app[LIMITS].stall_seconds
    block = bytearray()
    while True:
        try:
            async with asyncio.timeout(stall_timeout):
                piece = await request.content.readany()
        except TimeoutError:
            raise TooSlow(f"nothing came for {stall_timeout} seconds") from None
        if not piece:
            break
        block += piece
        while len(block) >= BLOCK:
            yield bytes(block[:BLOCK])
            del block[:BLOCK]
    if block:
        yield bytes(block)


async def gunzip(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the members of a gzip file, one after the other (RFC 1952, section 2.2).

    Raises:
        zlib.error: it is damaged or cut short.
    """
    decoder = zlib.decompressobj(GZIP)
    async for data in pieces:
        piece = b""
        # A full piece may have left more output inside the decoder.
        while data or len(piece) == MAX_PIECE:
            if decoder.eof:
                decoder = zlib.decompressobj(GZIP)
            piece = decoder.decompress(data, MAX_PIECE)
            data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail  # noqa: PLW2901
            if piece:
                yield piece
    if not decoder.eof:
        raise zlib.error("cut short")
