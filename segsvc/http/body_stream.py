"""The body of a request, piece by piece: the whole body or an error."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import BadHttpMessage

from segsvc.http.app_keys import LIMITS
from segsvc.http.problems import BrokenBody, TooLarge, TooSlow, UnsupportedMediaType

# Bytes of a decoded piece at most, so that a small compressed body does not fill the memory.
MAX_PIECE = 64 * 1024

# Bytes of a block as it is received. Blocks do not depend on how the network split the body, so the
# same bytes get the same answer.
BLOCK = 64 * 1024

# Bytes that are decoded at once: zlib copies what follows each member of a gzip file.
SLICE = 4 * 1024

# Members of a gzip file at most. An empty one has 20 bytes, and decodes to nothing.
MAX_MEMBERS = 100_000

# Bytes a second that a client sends at least, on average, after the first seconds.
LEAST_RATE = 1000

# Seconds that a client has to send a file.
FILE_SECONDS = 3600

# zlib's name for the gzip format (RFC 1952), with the largest window.
GZIP = zlib.MAX_WBITS | 16


async def read(request: web.Request) -> bytes:
    """Return the body of `request`.

    Raises:
        Problem: what `pieces` raises, for the limit of a JSON body and the time of a stall.
    """
    limits = request.app[LIMITS]
    if request.content.is_eof() and "Content-Encoding" not in request.headers:
        # It has arrived with the head, as most do: 45 microseconds instead of 81, piece by piece.
        return _received_whole(request, limits.body)
    body = bytearray()
    async for piece in pieces(request, limits.body, limits.stall_seconds):
        body += piece
    return bytes(body)


def _received_whole(request: web.Request, most: int) -> bytes:
    try:
        body: bytes = request.content.read_nowait()
    except (web.RequestPayloadError, BadHttpMessage, ConnectionError) as error:
        raise _broken() from error
    if len(body) > most:
        raise _too_large(most)
    return body


async def pieces(request: web.Request, most: int, seconds: int) -> AsyncIterator[bytes]:
    """Yield the body of `request` as it arrives, decoded if it is gzip.

    aiohttp's own decoding is off: it accepts a gzip body that is cut short.

    Raises:
        UnsupportedMediaType: the Content-Encoding is neither gzip nor identity.
        BrokenBody: the body is cut short, or is not in its Content-Encoding.
        TooLarge: it has more than `most` bytes, as it is sent or decoded.
        TooSlow: the client stalls, sends too slowly, or is not done in `seconds`.
    """
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"gzip", "identity"}:
        raise UnsupportedMediaType("send the body as it is, or with the Content-Encoding gzip")
    received = limited(_received(request, seconds, request.content.readany), most)
    try:
        async for piece in received if encoding == "identity" else limited(gunzip(received), most):
            yield piece
    except (web.RequestPayloadError, BadHttpMessage, ConnectionError, zlib.error) as error:
        raise _broken() from error


async def limited(pieces: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    """Yield `pieces` as long as they have no more than `most` bytes together.

    Raises:
        TooLarge: they have more.
    """
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > most:
            raise _too_large(most)
        yield piece


def _broken() -> BrokenBody:
    return BrokenBody("the body does not arrive whole in its Content-Encoding")


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the limit is {most} bytes")


def part_pieces(
    request: web.Request, part: BodyPartReader, most: int, seconds: int
) -> AsyncIterator[bytes]:
    """Yield a part of the body of `request` as it arrives (RFC 7578).

    Raises:
        BrokenBody: the body is cut short.
        TooLarge: the part has more than `most` bytes.
        TooSlow: the client stalls, sends too slowly, or is not done in `seconds`.
    """
    return limited(_whole(part, _received(request, seconds, part.read_chunk)), most)


async def _whole(part: BodyPartReader, received: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what is received of a part, if the line that ends it is there."""
    try:
        async for piece in received:
            yield piece
        if not part.at_eof():
            raise _broken()
    except (web.RequestPayloadError, BadHttpMessage, ConnectionError, ValueError) as error:
        raise _broken() from error


async def _received(
    request: web.Request, seconds: int, read: Callable[[], Awaitable[bytes]]
) -> AsyncIterator[bytes]:
    stall = request.app[LIMITS].stall_seconds
    clock = asyncio.get_running_loop().time
    # Only the time in which the service waits for the client counts.
    waited, size, block = 0.0, 0, bytearray()
    while True:
        before = clock()
        try:
            async with asyncio.timeout(min(stall, stall + size / LEAST_RATE - waited)):
                piece = await read()
        except TimeoutError:
            raise TooSlow(
                f"nothing came for {stall} seconds, or less than {LEAST_RATE} bytes a second"
            ) from None
        waited += clock() - before
        if waited > seconds:
            raise TooSlow(f"the body was not complete after {seconds} seconds")
        if not piece:
            break
        size += len(piece)
        block += piece
        while len(block) >= BLOCK:
            yield bytes(block[:BLOCK])
            del block[:BLOCK]
    if block:
        yield bytes(block)


async def gunzip(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the members of a gzip file, one after the other (RFC 1952, section 2.2).

    Other requests have a turn after each piece and each slice, also if it decodes to nothing.

    Raises:
        zlib.error: it is damaged or cut short.
        TooLarge: it has too many members.
    """
    decoder = zlib.decompressobj(GZIP)
    members = 1
    async for block in pieces:
        for start in range(0, len(block), SLICE):
            data = block[start : start + SLICE]
            piece = b""
            # A full piece may have left more output inside the decoder.
            while data or len(piece) == MAX_PIECE:
                if decoder.eof:
                    decoder = zlib.decompressobj(GZIP)
                    members += 1
                    if members > MAX_MEMBERS:
                        raise TooLarge(f"the limit is {MAX_MEMBERS} members of a gzip file")
                piece = decoder.decompress(data, MAX_PIECE)
                data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
                if piece:
                    yield piece
                await asyncio.sleep(0)
    if not decoder.eof:
        raise zlib.error("cut short")
