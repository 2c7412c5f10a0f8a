"""Schemas of members."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, fields, post_load, validate

from segsvc.api.members.store import CHOICES
from segsvc.api.users.schemas import AsOfSchema, TermSchema
from segsvc.api.users.store import REFUSE
from segsvc.db.values import Term
from segsvc.http.fields import (
    FormattedTimestamp,
    PageSize,
    TTLText,
    UserId,
    UserIdCursor,
    preview_mark,
)
from segsvc.http.routes import Text


@dataclass(frozen=True)
class AdditionQuery:
    """When the users of a file are in, and what becomes of them elsewhere in the layer."""

    term: Term
    on_conflict: str


class AdditionQuerySchema(TermSchema):
    """`?starts_at`, `?expires_at` or `?ttl`, not both, and `?on_conflict`."""

    ttl = TTLText()
    on_conflict = fields.String(load_default=REFUSE, validate=validate.OneOf((REFUSE, *CHOICES)))

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> AdditionQuery:
        term = Term(data.get("starts_at"), data.get("expires_at", data.get("ttl")))
        return AdditionQuery(term, data["on_conflict"])


class MemberPageSchema(AsOfSchema):
    """`?at&limit&after`."""

    limit = PageSize(load_default=100)
    after = UserIdCursor(load_default=0)


class ImportedSchema(Schema):
    """The counts of an import: ids in the file, users changed, and the difference.

    `skipped`: ids that were left out, only if the request asked for that.
    """

    received = fields.Integer(required=True, metadata={"examples": [100000]})
    changed = fields.Integer(required=True, metadata={"examples": [99998]})
    unchanged = fields.Integer(required=True, metadata={"examples": [2]})
    skipped = fields.Integer(metadata={"examples": [0]})


class MemberSchema(Schema):
    """A user who is in the segment, by hand or by percentage."""

    user_id = UserId(required=True)
    source = fields.String(required=True, validate=validate.OneOf(("manual", "rollout")))
    since = FormattedTimestamp(required=True)
    expires_at = FormattedTimestamp(required=True, allow_none=True)


class MemberListSchema(Schema):
    """A page of members; `next` is the `after` of the next page, null on the last page.

    `preview`: by what is planned, as of a future time.
    """

    members = fields.List(fields.Nested(MemberSchema), required=True)
    next = UserIdCursor(required=True, allow_none=True)
    preview = preview_mark()


ADDITION_QUERY = AdditionQuerySchema()
MEMBER_PAGE = MemberPageSchema()
IMPORTED = ImportedSchema()
MEMBER_LIST = MemberListSchema()
USER_IDS_FILE = Text("text/csv", "user_id\n1000\n1002\n")
MEMBERS_CSV = Text(
    "text/csv",
    "user_id,source,since,expires_at\n1000,manual,2026-11-22T12:00:00.000000Z,\n",
)
