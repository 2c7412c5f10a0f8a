"""A file of user ids, checked while it is sent to COPY.

A file is one of two: user ids, one a line, or CSV with a header that has one column of user ids.
What is unambiguous is accepted, and nothing is guessed. The outcome depends on the bytes alone, not
on the pieces in which they arrive.
"""

import asyncio
import codecs
import csv
import re
import zlib
from array import array
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator

from segsvc.db.values import MAX_USER_ID
from segsvc.http.body_stream import gunzip, limited

# Names of the column, in lower case.
HEADERS = {b"user_id", b"user id", b"userid", b"id"}
SEPARATORS = {b",": "commas", b";": "semicolons", b"\t": "tabs"}

EXPECTED = "send one user id a line, or CSV with a header that has one column user_id"

GZIP_MAGIC = b"\x1f\x8b"
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# First bytes of files that are no text of user ids.
FORMATS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook: save it as CSV",
    b"PK\x05\x06": "an empty zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save it as CSV",
    b"%PDF": "a PDF document",
    b"PAR1": "a Parquet file",
    b"BZh": "compressed with bzip2: send it plain or as gzip",
    b"\xfd7zX": "compressed with xz: send it plain or as gzip",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: send it plain or as gzip",
    b"7z\xbc\xaf": "a 7z archive",
    codecs.BOM_UTF32_LE: "in UTF-32: save it in UTF-8",
    codecs.BOM_UTF32_BE: "in UTF-32: save it in UTF-8",
    b"{\\rtf": "an RTF document",
    b"{": "JSON",
    b"[": "JSON",
    b"<": "HTML or XML",
}
LONGEST_MAGIC = 5

# The most bad lines that are named; the file is not read beyond them.
MAX_BAD_LINES = 100

# Bytes of a line. The file is not read beyond a longer one.
MAX_LINE = 10_000

# Lines that a file may have beyond two for each id that it may hold.
SPARE_LINES = 1000

# Bytes of lines that are examined one by one before others have a turn: about a millisecond.
PART = 2 * 1024

# Bytes of a bad line that are shown.
MAX_SHOWN = 40

# Lines that need no further check: an id of 19 digits that begins with 9 may be too large. The
# possessive quantifier (*+) keeps the engine from storing a backtracking point for each line.
_PLAIN = re.compile(rb"(?:(?:[1-9][0-9]{0,17}|[1-8][0-9]{18})\n)*+")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_ID = re.compile(rb"[1-9][0-9]{0,18}")


class TooManyLines(Exception):  # noqa: N818 (a condition that the caller asked about)
    """The file holds more than `limit` user ids."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} user ids")
        self.limit = limit


class WrongFormat(Exception):  # noqa: N818
    """The file is in another format; the message says in which, and what is expected."""

    def __init__(self, found: str) -> None:
        super().__init__(f"{found}; {EXPECTED}")


class BadLines(Exception):  # noqa: N818
    """Some lines of the file have no user id.

    Attributes:
        lines: the first of them, by their numbers in the file, counted from 1.
        more: whether reading stopped before the end of the file.
    """

    def __init__(self, lines: dict[int, str], *, more: bool) -> None:
        super().__init__(f"{len(lines)} bad lines")
        self.lines = lines
        self.more = more


class UserIdFile:
    """The user ids of a file, as text for COPY.

    Accepted: gzip, a byte order mark of UTF-8 or UTF-16, line ends LF, CRLF and CR, blank lines,
    blanks and quotes around an id, and a header with one of `HEADERS`, in any case, alone or among
    other columns that are separated by one of `SEPARATORS`.

    Attributes:
        received: the number of ids read so far.
    """

    def __init__(self, pieces: AsyncIterator[bytes], limit: int, max_bytes: int) -> None:
        """Read `pieces`, up to `limit` ids and `max_bytes` of text."""
        self.received = 0
        self._pieces = pieces
        self._limit = limit
        self._max_bytes = max_bytes
        self._line = 0
        self._bad: dict[int, str] = {}
        self._began = False
        self._columns: _Columns | None = None
        # For each line without an id, the place of the first id after it.
        self._skipped = array("Q")

    def line_of(self, place: int) -> int:
        """Return the line of the id at `place` among the ids; both are counted from 1."""
        return place + bisect_right(self._skipped, place)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the ids, each followed by a line feed, many in one piece.

        Other requests have a turn after each piece.

        Raises:
            WrongFormat: the file is something else.
            BadLines: some lines have no user id.
            TooManyLines: the file holds more than `limit` ids, or many more lines.
            TooLarge: it has more than `max_bytes` of text.
        """
        async for lines in _whole_lines(limited(_text(self._pieces), self._max_bytes)):
            if self._columns is None and _PLAIN.fullmatch(lines):
                self._began = True
                self._line += lines.count(b"\n")
                self._count(lines.count(b"\n"))
                yield lines
                await asyncio.sleep(0)
            else:
                for part in _parts(lines):
                    yield b"".join(self._ids(part))
                    await asyncio.sleep(0)
        if self._bad:
            raise BadLines(self._bad, more=False)

    def _ids(self, lines: bytes) -> Iterator[bytes]:
        for line in lines.removesuffix(b"\n").split(b"\n"):
            self._line += 1
            if self._line > 2 * self._limit + SPARE_LINES:
                raise TooManyLines(self._limit)
            if len(line) > MAX_LINE:
                self._refuse(line)
                raise BadLines(self._bad, more=True)
            if not line.strip():
                continue
            if not self._began:
                self._began = True
                self._columns = _columns_of(line)
                if self._columns or _unquoted(line).lower() in HEADERS:
                    continue
            value = self._columns.value(line) if self._columns else _unquoted(line)
            if value and _ID.fullmatch(value) and int(value) <= MAX_USER_ID:
                self._count(1)
                yield value + b"\n"
            elif value is None or value or (self._columns and self._columns.any(line)):
                self._refuse(line)

    def _count(self, ids: int) -> None:
        """Count the ids of the lines that were read last."""
        skipped = self._line - ids - self.received
        self._skipped.extend([self.received + 1] * (skipped - len(self._skipped)))
        self.received += ids
        if self.received > self._limit:
            raise TooManyLines(self._limit)

    def _refuse(self, line: bytes) -> None:
        self._bad[self._line] = line[:MAX_SHOWN].decode(errors="replace")
        if len(self._bad) == MAX_BAD_LINES:
            raise BadLines(self._bad, more=True)


class _Columns:
    """The columns of a file, by its header."""

    def __init__(self, separator: bytes, number: int, column: int) -> None:
        self._separator = separator
        self._number = number
        self._column = column

    def value(self, line: bytes) -> bytes | None:
        """Return what `line` has in the column of user ids.

        None if its columns are not those of the header, because the ids may then be elsewhere.
        """
        cells = _cells(line, self._separator)
        return cells[self._column].strip() if len(cells) == self._number else None

    def any(self, line: bytes) -> bool:
        """Return whether `line` has anything in any column: Excel writes empty rows as `;;;`."""
        return any(cell.strip() for cell in _cells(line, self._separator))


def _parts(lines: bytes) -> Iterator[bytes]:
    """Yield whole lines in parts of about `PART` bytes."""
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", start + PART - 1) + 1 or len(lines)
        yield lines[start:end]
        start = end


def _columns_of(header: bytes) -> _Columns | None:
    """Return the columns of a file whose first line is `header`; None for one column.

    Raises:
        WrongFormat: which column has the user ids is not clear.
    """
    found: list[_Columns] = []
    wide = ""
    for separator, name in SEPARATORS.items():
        cells = [cell.strip().lower() for cell in _cells(header, separator)]
        if len(cells) > 1:
            wide = wide or f"{len(cells)} columns separated by {name}"
            named = (i for i, cell in enumerate(cells) if cell in HEADERS)
            found += [_Columns(separator, len(cells), i) for i in named]
    if wide and len(found) != 1:
        which = "more than one of them" if found else "none of them"
        raise WrongFormat(f"the first line has {wide} and calls {which} user_id")
    return found[0] if found else None


def _cells(line: bytes, separator: bytes) -> list[bytes]:
    """Return the cells of a line (RFC 4180), none if a quote in it is not closed."""
    if b'"' not in line:
        return line.split(separator)
    text = line.decode(errors="surrogateescape")
    try:
        (cells,) = csv.reader([text], delimiter=separator.decode(), strict=True)
    except csv.Error:
        return []
    return [cell.encode(errors="surrogateescape") for cell in cells]


def _unquoted(line: bytes) -> bytes:
    """Return `line` without blanks and a pair of quotes around it."""
    line = line.strip()
    return line[1:-1] if len(line) > 1 and line[:1] == line[-1:] == b'"' else line


async def _text(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a file as text in UTF-8, without a byte order mark.

    Raises:
        WrongFormat: the file is something else.
    """
    first, pieces = await _peeked(pieces)
    if first.startswith(GZIP_MAGIC):
        first, pieces = await _peeked(_gunzipped(pieces))
    for magic, name in FORMATS.items():
        if first.startswith(magic):
            raise WrongFormat(f"the file is {name}")
    if first.startswith(UTF_16_MARKS):
        pieces = _from_utf_16(pieces)
    elif b"\0" in first[:2]:
        raise WrongFormat("the file is binary, or in UTF-16 without a byte order mark")
    begins = True
    async for piece in pieces:
        yield piece.removeprefix(codecs.BOM_UTF8) if begins else piece
        begins = False


async def _peeked(pieces: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """Return the beginning of a file, and all of the file."""
    first = b""
    async for piece in pieces:
        first += piece
        if len(first) >= LONGEST_MAGIC:
            break

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return first, whole()


async def _gunzipped(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for piece in gunzip(pieces):
            yield piece
    except zlib.error:
        raise WrongFormat("the file is gzip, but damaged or cut short") from None


async def _from_utf_16(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")()
    try:
        async for piece in pieces:
            yield decoder.decode(piece).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeDecodeError:
        raise WrongFormat("the file begins as UTF-16, but is not valid UTF-16") from None


async def _whole_lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a text in pieces that end with a line feed.

    A carriage return ends a line in a file whose first line it ends, and nowhere else. A line that
    is too long is the end of the text.
    """
    rest = b""
    first_end: bytes | None = None
    async for piece in pieces:
        text = rest + piece
        half = b"\r" if text.endswith(b"\r") else b""  # it may be half of a CRLF
        text = text.removesuffix(half)
        if first_end is None and (found := _LINE_END.search(text)):
            first_end = found[0]
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        if first_end == b"\r":
            text = text.replace(b"\r", b"\n")
        lines, feed, rest = text.rpartition(b"\n")
        if feed:
            yield lines + feed
        if len(rest) > MAX_LINE:
            yield rest + b"\n"
            return
        rest += half
    if rest:
        yield rest.removesuffix(b"\r") + b"\n"
