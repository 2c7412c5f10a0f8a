"""Months in UTC, the periods of reports."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

MONTH = re.compile(r"(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])")


@dataclass(frozen=True)
class Month:
    """A month."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> "Month":
        """Read a month written as 2026-11, from 1970 on.

        Raises:
            ValueError: the text has another form.
        """
        found = MONTH.fullmatch(text)
        if not found:
            raise ValueError("must be a year and a month, such as 2026-11")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"

    @property
    def start(self) -> datetime:
        """The start, inclusive."""
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The end, exclusive; the latest time for December 9999."""
        if (self.year, self.number) == (9999, 12):
            return datetime.max.replace(tzinfo=UTC)
        return datetime(self.year + self.number // 12, self.number % 12 + 1, 1, tzinfo=UTC)
