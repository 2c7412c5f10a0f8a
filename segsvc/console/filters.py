"""How values are written on pages."""

from datetime import UTC, datetime
from decimal import Decimal


def moment(value: datetime) -> str:
    """Return a time in UTC, to the minute: the script shows the reader's own beside it."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def day(value: datetime) -> str:
    """Return the day of a time in UTC."""
    return f"{value.astimezone(UTC):%Y-%m-%d}"


def percent(value: Decimal | float) -> str:
    """Return a percentage without zeros that say nothing."""
    return f"{value:.2f}".rstrip("0").rstrip(".") + "\N{NARROW NO-BREAK SPACE}%"
