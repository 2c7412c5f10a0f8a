"""How values are written on pages."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any


def moment(value: datetime) -> str:
    """Return a time in UTC, to the minute: the script shows the reader's own beside it."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def day(value: datetime) -> str:
    """Return the day of a time in UTC."""
    return f"{value.astimezone(UTC):%Y-%m-%d}"


def percent(value: Decimal | float) -> str:
    """Return a percentage without zeros that say nothing."""
    return f"{value:.2f}".rstrip("0").rstrip(".") + "\N{NARROW NO-BREAK SPACE}%"


def plain(value: Decimal) -> str:
    """Return a percentage as a form has it."""
    return f"{value.normalize():f}"


def field(value: datetime | None) -> str:
    """Return a time in UTC as a form has it."""
    if value is None:
        return ""
    text = value.astimezone(UTC).isoformat(timespec="milliseconds")[:23]
    return text.removesuffix(":00.000").removesuffix(".000")


def place(pointer: str, texts: Any) -> str:
    """Return which field of a form a JSON pointer is about, empty if it is not about one."""
    parts = re.findall(r"/([^/]+)", pointer)
    numbers = [str(int(part) + 1) for part in parts if part.isdecimal()]
    names = [part for part in parts if not part.isdecimal() and part != "value"]
    return " ".join([texts.get(f"field.{names[-1]}", names[-1]) if names else "", *numbers]).strip()
