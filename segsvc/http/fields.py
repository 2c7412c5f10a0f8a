"""Fields of request and response schemas: each loads, dumps and describes itself for OpenAPI.

A field raises marshmallow's ValidationError with a message that says what the value must be.
`json_schema` is the field's JSON Schema; the class docstring becomes its description.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from marshmallow import ValidationError, fields

from segsvc.db.values import MAX_BIGINT, MAX_USER_ID, SLUG, rfc3339
from segsvc.http.problems import MAX_ERRORS

MAX_DESCRIPTION = 1000
MAX_PAGE_SIZE = 1000

# Seconds: ten years of 365 days.
MAX_TTL = 10 * 365 * 24 * 60 * 60

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)

_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,2})?")
_DECIMAL = re.compile(r"[1-9][0-9]{0,18}")
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)


class DescribedField(fields.Field[Any]):
    """A field with a JSON Schema of its own."""

    json_schema: ClassVar[dict[str, Any]]

    def described(self) -> dict[str, Any]:
        """Return the JSON Schema with the class docstring as the description."""
        assert self.__doc__
        return {"description": self.__doc__.partition("\n")[0]} | self.json_schema


class Slug(DescribedField):
    """The name of a segment."""

    json_schema: ClassVar = {
        "type": "string",
        "pattern": f"^{SLUG.pattern}$",
        "examples": ["VOICE_MESSAGES"],
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str) or not SLUG.fullmatch(value):
            raise ValidationError(
                "must be 1 to 64 of the characters A-Z, a-z, 0-9, _ and -, the first one a letter"
            )
        return value


class LayerSlug(Slug):
    """The name of a layer."""

    json_schema: ClassVar = Slug.json_schema | {"examples": ["DISCOUNTS"]}


class GivenList(fields.List[Any]):
    """A list in a request. It is read until it has more errors than an answer names."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        loaded: list[Any] = []
        errors: dict[int, Any] = {}
        for index, item in enumerate(value):
            try:
                loaded.append(self.inner.deserialize(item))
            except ValidationError as error:
                errors[index] = error.messages
                if len(errors) > MAX_ERRORS:
                    break
        if errors:
            raise ValidationError(errors)
        return loaded


class StoredList(fields.List[Any]):
    """A list in an answer that is JSON already: it is dumped without another look."""

    def __init__(self, item: fields.Field[Any]) -> None:
        super().__init__(item, required=True)

    def _serialize(self, value: Any, *_: Any, **__: Any) -> Any:
        return value


class Description(DescribedField):
    """What a segment is for, as any text that PostgreSQL can store."""

    json_schema: ClassVar = {
        "type": "string",
        "maxLength": MAX_DESCRIPTION,
        "pattern": r"^[^\0]*$",
        "examples": ["May send voice messages"],
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str) or len(value) > MAX_DESCRIPTION:
            raise ValidationError(f"must be a string of {MAX_DESCRIPTION} characters at most")
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise ValidationError("must not hold the character NUL or half a surrogate pair")
        return value


class UserId(DescribedField):
    """A user id, from 1 to 2^63 - 1."""

    json_schema: ClassVar = {
        "type": "integer",
        "format": "int64",
        "minimum": 1,
        "maximum": MAX_USER_ID,
        "examples": [1000],
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if not _is_integer(value) or not 1 <= value <= MAX_USER_ID:
            raise ValidationError(f"must be an integer from 1 to {MAX_USER_ID}")
        return int(value)


class UserIdText(UserId):
    """A user id in decimal digits, without sign and leading zeros."""

    def parse(self, text: str) -> int:
        """Return the user id, in half of the time that `deserialize` takes.

        Raises:
            ValidationError: it is none.
        """
        return self._deserialize(text)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        return super()._deserialize(decimal(value))


class UserIdOrText(UserId):
    """A user id, from 1 to 2^63 - 1, or its decimal digits, which JavaScript needs above 2^53."""

    json_schema: ClassVar = {
        "type": ["integer", "string"],
        "minimum": 1,
        "maximum": MAX_USER_ID,
        "pattern": f"^{_DECIMAL.pattern}$",
        "examples": [1000],
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        return super()._deserialize(decimal(value) if isinstance(value, str) else value)


class Cursor(DescribedField):
    """The `next` of a page, to be sent as `after` as it is: its content may change."""

    json_schema: ClassVar = {"type": "string", "examples": ["1000"]}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        try:
            return self._parse(value)
        except (ValueError, ValidationError):
            raise ValidationError("must be the next of the page before") from None

    def _parse(self, text: str) -> Any:
        """Return the position that `text` means.

        Raises:
            ValueError, ValidationError: it means none.
        """
        raise NotImplementedError


class IdCursor(Cursor):
    """The `next` of a page in the order of ids, to be sent as `after` as it is."""

    def _parse(self, text: str) -> int:
        number = decimal(text)
        if number is None or number > MAX_BIGINT:
            raise ValueError(text)
        return number

    def _serialize(self, value: int | None, *_: Any, **__: Any) -> str | None:
        return None if value is None else str(value)


class UserIdCursor(IdCursor):
    """The `next` of a page of users, to be sent as `after` as it is: its content may change."""


class PageSize(DescribedField):
    """The most rows that a page may hold: 1 to 1000."""

    json_schema: ClassVar = {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_PAGE_SIZE,
        "examples": [100],
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        number = decimal(value)
        if number is None or number > MAX_PAGE_SIZE:
            raise ValidationError(f"must be an integer from 1 to {MAX_PAGE_SIZE}")
        return number


class Percent(DescribedField):
    """A percentage of users: 0 to 100, with two decimals at most."""

    # No multipleOf 0.01: validators that compute it in binary refuse 33.33.
    json_schema: ClassVar = {"type": "number", "minimum": 0, "maximum": 100, "examples": [10]}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Decimal:
        if _is_integer(value) or isinstance(value, Decimal):
            number = Decimal(value)
            if 0 <= number <= 100 and number == round(number, 2):  # noqa: PLR2004 (per cent)
                return round(number, 2)
        raise ValidationError("must be a number from 0 to 100 with two decimals at most")

    def _serialize(self, value: Decimal | None, *_: Any, **__: Any) -> float | None:
        return None if value is None else float(value)


class PercentText(Percent):
    """A percentage in decimal digits; `none` for a manual segment."""

    json_schema: ClassVar = {
        "type": "string",
        "pattern": f"^({_PERCENT.pattern}|none)$",
        "examples": ["25"],
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if value == "none":
            return None
        is_number = isinstance(value, str) and _PERCENT.fullmatch(value)
        return super()._deserialize(Decimal(value) if is_number else value)


def switch(*, in_query: bool = False) -> fields.Boolean:
    """Return the field of what is off unless the request says true."""
    true, false = ("true", "false") if in_query else (True, False)
    return fields.Boolean(load_default=False, truthy={true}, falsy={false})


class Point(DescribedField):
    """The user's place in the rollout, as a percentage; the user is in if it is below `percent`."""

    json_schema: ClassVar = {"type": "number", "examples": [2.143114]}

    def _serialize(self, value: int | None, *_: Any, **__: Any) -> float | None:
        # Cut off after six decimals, not rounded: it stays below every percentage that admits it.
        return None if value is None else (value * 10**8 >> 32) / 10**6


class Timestamp(DescribedField):
    """A time with an offset (RFC 3339); digits after the microseconds are cut off."""

    json_schema: ClassVar = {
        "type": "string",
        "format": "date-time",
        "examples": ["2026-11-22T12:00:00.000000Z"],
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        if isinstance(value, str) and _RFC3339.fullmatch(value):
            try:
                moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
                if moment < LATEST:  # the driver's value for infinity
                    return moment
            except (ValueError, OverflowError):
                pass
        raise ValidationError(
            "must be a time with an offset, such as 2026-11-22T12:00:00Z or"
            " 2026-11-22T15:00:00+03:00 (in a URL, + is written %2B)"
        )

    def _serialize(self, value: datetime | None, *_: Any, **__: Any) -> str | None:
        return None if value is None else rfc3339(value)


def preview_mark() -> fields.Boolean:
    """Return the field of an answer as of a future time: true, or absent."""
    return fields.Boolean(metadata={"enum": [True]})


class FormattedTimestamp(Timestamp):
    """A time with an offset (RFC 3339)."""

    def _serialize(self, value: Any, *_: Any, **__: Any) -> Any:
        return value  # formatted by the statement, which COPY runs too


class TTL(DescribedField):
    """A time to live: 1 second to ten years of 365 days, in whole seconds."""

    json_schema: ClassVar = {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_TTL,
        "examples": [172800],
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> timedelta:
        if not _is_integer(value) or not 1 <= value <= MAX_TTL:
            raise ValidationError(f"must be an integer, in seconds, from 1 to {MAX_TTL}")
        return timedelta(seconds=value)


class TTLText(TTL):
    """A time to live in decimal digits, in seconds."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> timedelta:
        return super()._deserialize(decimal(value))


def decimal(value: Any) -> int | None:
    """Return the number that decimal digits stand for; None for a sign, leading zeros, no text."""
    return int(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
