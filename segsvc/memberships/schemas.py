"""What requests about the segments of a user may hold."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from segsvc.segments.schemas import is_slug

MAX_USER_ID = 2**63 - 1
MAX_SLUGS = 1000

_DECIMAL = re.compile(r"[1-9][0-9]{0,18}")


class PathUserId(fields.Field[int]):
    """A user id written in a path: decimal digits, no sign, no leading zeros."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **_: Any
    ) -> int:
        del attr, data
        if not _DECIMAL.fullmatch(value) or int(value) > MAX_USER_ID:
            raise ValidationError(f"must be an integer from 1 to {MAX_USER_ID}")
        return int(value)


class UserPath(Schema):
    """`/users/{user_id}/...`."""

    user_id = PathUserId(required=True)


@dataclass(frozen=True)
class Change:
    """Slugs to put a user into, and slugs to take the user out of."""

    add: list[str]
    remove: list[str]


def _slugs() -> fields.List[str]:
    limit = validate.Length(max=MAX_SLUGS, error="at most {max} slugs in one request")
    return fields.List(fields.String(validate=is_slug), load_default=list, validate=limit)


class UserChange(Schema):
    """`{add?, remove?}`: at least one slug, and none in both."""

    add = _slugs()
    remove = _slugs()

    @validates_schema
    def _one_wish_a_slug(self, data: Mapping[str, list[str]], **_: Any) -> None:
        if not data["add"] and not data["remove"]:
            raise ValidationError("name at least one slug in add or remove")
        both = set(data["add"]) & set(data["remove"])
        if both:
            wrong = {i: ["is in add too"] for i, slug in enumerate(data["remove"]) if slug in both}
            raise ValidationError({"remove": wrong})

    @post_load
    def _freeze(self, data: dict[str, Any], **_: Any) -> Change:
        return Change(**data)


USER_PATH = UserPath()
USER_CHANGE = UserChange()
