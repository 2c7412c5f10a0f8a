"""A file of user ids, one a line, checked while it is sent to COPY."""

import re
from collections.abc import AsyncIterator

from segsvc.db.values import MAX_USER_ID

HEADER = b"user_id"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# The most bad lines that are named; the file is not read beyond them.
MAX_BAD_LINES = 100

# Bytes. A longer line is not a user id, even with blanks and quotes around it.
MAX_LINE = 1000

# Bytes of a bad line that are shown.
MAX_SHOWN = 40

# Lines that need no further check: an id of 19 digits that begins with 9 may be too large. The
# possessive quantifier (*+) keeps the engine from storing a backtracking point for each line.
_PLAIN = re.compile(rb"(?:(?:[1-9][0-9]{0,17}|[1-8][0-9]{18})\n)*+")
_ID = re.compile(rb"[1-9][0-9]{0,18}")


class TooManyLines(Exception):  # noqa: N818 (a condition that the caller asked about)
    """The file holds more than `limit` user ids."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} user ids")
        self.limit = limit


class BadLines(Exception):  # noqa: N818
    """Some lines of the file are not user ids.

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

    Accepted and left out: a header `user_id`, blank lines, blanks and quotes around an id, carriage
    returns and a byte order mark.

    Attributes:
        received: the number of ids read so far.
    """

    def __init__(self, pieces: AsyncIterator[bytes], limit: int | None = None) -> None:
        self.received = 0
        self._pieces = pieces
        self._limit = limit
        self._line = 0
        self._bad: dict[int, str] = {}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the ids, each followed by a line feed, many in one piece.

        Raises:
            BadLines: some lines are not user ids.
            TooManyLines: the file holds more than `limit` ids.
        """
        rest = b""
        async for piece in self._pieces:
            lines, feed, rest = (rest + piece).rpartition(b"\n")
            if feed:
                yield self._checked(lines + feed)
            if len(rest) > MAX_LINE:
                self._checked(rest)
                raise BadLines(self._bad, more=True)
        if rest:
            yield self._checked(rest)
        if self._bad:
            raise BadLines(self._bad, more=False)

    def _checked(self, text: bytes) -> bytes:
        """Count and return the ids in `text`, which is whole lines of the file."""
        text = text.replace(b"\r\n", b"\n")
        first = self._line + 1
        self._line += text.count(b"\n")
        if not _PLAIN.fullmatch(text):
            text = b"".join(self._ids(first, text.removesuffix(b"\n").split(b"\n")))
        self.received += text.count(b"\n")
        if self._limit is not None and self.received > self._limit:
            raise TooManyLines(self._limit)
        return text

    def _ids(self, first: int, lines: list[bytes]) -> list[bytes]:
        found = []
        for number, given in enumerate(lines, first):
            line = given.removeprefix(BYTE_ORDER_MARK) if number == 1 else given
            line = line.strip()
            if line[:1] == line[-1:] == b'"':
                line = line[1:-1]
            if not line or (number == 1 and line == HEADER):
                continue
            if _ID.fullmatch(line) and int(line) <= MAX_USER_ID:
                found.append(line + b"\n")
            else:
                self._bad[number] = given[:MAX_SHOWN].decode(errors="replace")
                if len(self._bad) == MAX_BAD_LINES:
                    raise BadLines(self._bad, more=True)
        return found
