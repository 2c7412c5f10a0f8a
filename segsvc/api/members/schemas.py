"""What requests about members may hold, in their queries."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from marshmallow import Schema, fields, post_load

from segsvc.api.users.schemas import Expiring, Expiry
from segsvc.http import fields as values


@values.described(**values.JSON_SCHEMAS[values.ttl])
def _ttl(value: str) -> timedelta:
    """A time to live, in decimal digits."""
    return values.ttl(values.decimal(value))


class Until(Expiring):
    """`?expires_at` or `?ttl`, not both."""

    ttl = fields.Function(deserialize=_ttl)

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
