"""What requests about members may hold, in their queries."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validates_schema

from segsvc import values
from segsvc.memberships.schemas import Expiry


@values.described(**values.JSON_SCHEMAS[values.ttl])
def _ttl(value: str) -> timedelta:
    """A time to live, in decimal digits."""
    return values.ttl(values.decimal(value))


class Until(Schema):
    """`?expires_at` or `?ttl`, not both."""

    expires_at = fields.Function(deserialize=values.timestamp)
    ttl = fields.Function(deserialize=_ttl)

    @validates_schema
    def _one_expiry(self, data: Mapping[str, Any], **_: Any) -> None:
        if len(data) > 1:
            raise ValidationError({"ttl": ["give expires_at or ttl, not both"]})

    @post_load
    def _freeze(self, data: Mapping[str, Any], **_: Any) -> Expiry:
        expiry: Expiry = data.get("expires_at", data.get("ttl"))
        return expiry


class MemberPage(Schema):
    """`?limit&after`: `after` is the `next` of the page before."""

    limit = fields.Function(deserialize=values.page_size, load_default=100)
    after = fields.Function(deserialize=values.decimal_user_id, load_default=0)


UNTIL = Until()
MEMBER_PAGE = MemberPage()
