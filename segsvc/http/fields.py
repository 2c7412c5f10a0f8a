"""The values that requests hold.

Each function returns one, or raises marshmallow's ValidationError with what it must be. Beside it
stands what JSON Schema can say of it, for those who write clients.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from marshmallow import ValidationError

MAX_USER_ID = 2**63 - 1
MAX_DESCRIPTION = 1000
MAX_PAGE = 1000
MAX_TTL = 10 * 365 * 24 * 60 * 60

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)

SLUG = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_DECIMAL = re.compile(r"[1-9][0-9]{0,18}")
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)


Value = TypeVar("Value", bound=Callable[..., Any])

# What JSON Schema says of the values that a function returns.
JSON_SCHEMAS: dict[Callable[..., Any], dict[str, Any]] = {}


def described(**schema: Any) -> Callable[[Value], Value]:
    """Declare the JSON Schema of the values that a function returns; its docstring is a part."""

    def declare(function: Value) -> Value:
        assert function.__doc__
        JSON_SCHEMAS[function] = {"description": function.__doc__.partition("\n")[0]} | schema
        return function

    return declare


@described(type="string", pattern=f"^{SLUG.pattern}$", examples=["VOICE_MESSAGES"])
def slug(value: Any) -> str:
    """The name of a segment."""
    if not isinstance(value, str) or not SLUG.fullmatch(value):
        raise ValidationError(
            "must be 1 to 64 of the characters A-Z, a-z, 0-9, _ and -, the first one a letter"
        )
    return value


@described(
    type="string",
    maxLength=MAX_DESCRIPTION,
    pattern=r"^[^\0]*$",
    examples=["May send voice messages"],
)
def description(value: Any) -> str:
    """What a segment is for, as any text that PostgreSQL can store."""
    if not isinstance(value, str) or len(value) > MAX_DESCRIPTION:
        raise ValidationError(f"must be a string of {MAX_DESCRIPTION} characters at most")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValidationError("must not hold the character NUL or half a surrogate pair")
    return value


@described(type="integer", format="int64", minimum=1, maximum=MAX_USER_ID, examples=[1000])
def user_id(value: Any) -> int:
    """A user id in a body: a JSON integer from 1 to 2^63 - 1."""
    if not _is_integer(value) or not 1 <= value <= MAX_USER_ID:
        raise ValidationError(f"must be an integer from 1 to {MAX_USER_ID}")
    return int(value)


@described(type="integer", format="int64", minimum=1, maximum=MAX_USER_ID, examples=[1000])
def decimal_user_id(value: str) -> int:
    """A user id in a path: decimal digits, no sign, no leading zeros."""
    return user_id(decimal(value))


def decimal(value: str) -> int | None:
    """The number that decimal digits stand for, without sign and leading zeros; else None."""
    return int(value) if _DECIMAL.fullmatch(value) else None


@described(type="integer", minimum=1, maximum=MAX_PAGE, examples=[100])
def page_size(value: str) -> int:
    """The most that a page may hold: 1 to 1000."""
    if not _DECIMAL.fullmatch(value) or int(value) > MAX_PAGE:
        raise ValidationError(f"must be an integer from 1 to {MAX_PAGE}")
    return int(value)


# No multipleOf 0.01: validators that compute it in binary refuse 33.33.
@described(type="number", minimum=0, maximum=100, examples=[10])
def percent(value: Any) -> Decimal:
    """A percentage of users: 0 to 100, with two decimals at most."""
    if _is_integer(value) or isinstance(value, Decimal):
        number = Decimal(value)
        if 0 <= number <= 100 and number == round(number, 2):  # noqa: PLR2004 (of a hundred)
            return round(number, 2)
    raise ValidationError("must be a number from 0 to 100 with two decimals at most")


@described(type="string", format="date-time", examples=["2026-11-22T12:00:00.000000Z"])
def timestamp(value: Any) -> datetime:
    """A time with an offset (RFC 3339), cut off after the microseconds."""
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
            if moment < LATEST:  # which stands for infinity
                return moment
        except (ValueError, OverflowError):
            pass
    raise ValidationError(
        "must be a time with an offset, such as 2026-11-22T12:00:00Z or 2026-11-22T15:00:00+03:00"
        " (in a URL, + is written %2B)"
    )


@described(type="integer", minimum=1, maximum=MAX_TTL, examples=[172800])
def ttl(value: Any) -> timedelta:
    """A time to live: 1 second to ten years of 365 days, in whole seconds."""
    if not _is_integer(value) or not 1 <= value <= MAX_TTL:
        raise ValidationError(f"must be an integer, in seconds, from 1 to {MAX_TTL}")
    return timedelta(seconds=value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
