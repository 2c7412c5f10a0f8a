"""Files of user ids, one a line, on their way into COPY."""

import re
from collections.abc import AsyncIterator

from segsvc.http.fields import MAX_USER_ID

HEADER = b"user_id"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# Of the lines that are no user ids, so many are named; what follows them is not read.
MAX_BAD_LINES = 100

# Bytes. Nothing longer can be an id with whatever may stand around it.
MAX_LINE = 1000

# Bytes of a bad line that are shown.
MAX_SHOWN = 40

# Lines that need no second look; a user id of 19 digits that begins with 9 may be too great.
# The group is possessive (*+), or else the engine would remember each line in case it must go back.
_PLAIN = re.compile(rb"(?:(?:[1-9][0-9]{0,17}|[1-8][0-9]{18})\n)*+")
_ID = re.compile(rb"[1-9][0-9]{0,18}")


class TooManyLines(Exception):  # noqa: N818 (a condition that the caller asked about)
    """The file holds more than `limit` user ids."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} user ids")
        self.limit = limit


class BadLines(Exception):  # noqa: N818
    """The file holds lines that are no user ids.

    Attributes:
        lines: the first of them, by their numbers in the file, counted from 1.
        more: whether the file was not read to its end because there were so many.
    """

    def __init__(self, lines: dict[int, str], *, more: bool) -> None:
        super().__init__(f"{len(lines)} bad lines")
        self.lines = lines
        self.more = more


class UserIds:
    """The user ids of a file as text for COPY, checked as they pass.

    A header `user_id`, blank lines, blanks around an id, quotes around it, carriage returns and a
    byte order mark are passed over.

    Attributes:
        received: how many ids have passed so far.
    """

    def __init__(self, pieces: AsyncIterator[bytes], limit: int | None = None) -> None:
        self.received = 0
        self._pieces = pieces
        self._limit = limit
        self._line = 0
        self._bad: dict[int, str] = {}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the ids, each with a line feed, many at a time.

        Raises:
            BadLines: some lines are no user ids.
            TooManyLines: there are more than `limit`.
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
        """Return the ids of whole lines of the file, and count them."""
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
