"""Schemas of members."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields, post_load, validate

from segsvc.api.events.schemas import EventId
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
    switch,
)
from segsvc.http.routes import Text

# By hand, or by percentage.
SOURCES = ("manual", "rollout")


class RemovalQuerySchema(Schema):
    """`?dry_run`: count what would change, and change nothing."""

    dry_run = switch(in_query=True)


class ListingQuerySchema(RemovalQuerySchema):
    """`?on_conflict`: what becomes of users who are elsewhere in the layer."""

    on_conflict = fields.String(load_default=REFUSE, validate=validate.OneOf((REFUSE, *CHOICES)))

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        ends = {"starts_at", "expires_at", "ttl"}
        term = Term(data.get("starts_at"), data.get("expires_at", data.get("ttl")))
        return {"term": term} | {name: data[name] for name in data if name not in ends}


class AdditionQuerySchema(TermSchema, ListingQuerySchema):
    """`?starts_at`, `?expires_at` or `?ttl`, not both, `?on_conflict` and `?dry_run`."""

    ttl = TTLText()


class ReplacementQuerySchema(ListingQuerySchema):
    """`?on_conflict`, `?dry_run`, and `?allow_empty`: a list without users removes everybody."""

    allow_empty = switch(in_query=True)


class MembersThenSchema(AsOfSchema):
    """`?at&source`: the members at a time, all or those by hand or by percentage."""

    source = fields.String(load_default=None, validate=validate.OneOf(SOURCES))


class MemberPageSchema(MembersThenSchema):
    """`?at&source&limit&after`."""

    limit = PageSize(load_default=100)
    after = UserIdCursor(load_default=0)


def _count(example: int, *, required: bool = True) -> fields.Integer:
    return fields.Integer(required=required, metadata={"examples": [example]})


class ChangedMembersSchema(Schema):
    """The ids in a file, or the users of a set, for how many something changed, and the others.

    `skipped`: who was left out, only if the request asked for that. `dry_run`: true if nothing was
    changed, or absent.
    """

    received = _count(100000)
    changed = _count(99998)
    unchanged = _count(2)
    skipped = _count(0, required=False)
    dry_run = fields.Boolean(metadata={"enum": [True]})


class ReplacedMembersSchema(Schema):
    """The ids in a file, or the users of a set, and who was added, or has another end, and removed.

    `skipped` and `dry_run` as for an addition.
    """

    received = _count(100000)
    added = _count(99998)
    removed = _count(20)
    unchanged = _count(2)
    skipped = _count(0, required=False)
    dry_run = fields.Boolean(metadata={"enum": [True]})


class MemberSchema(Schema):
    """A user who is in the segment, by hand or by percentage."""

    user_id = UserId(required=True)
    source = fields.String(required=True, validate=validate.OneOf(SOURCES))
    since = FormattedTimestamp(required=True)
    expires_at = FormattedTimestamp(required=True, allow_none=True)


class MemberListSchema(Schema):
    """A page of members; `next` is the `after` of the next page, null on the last page.

    `events_after`: the `after` from which the feed continues this list; of several pages as of now,
    that of the first one. Null while the feed cannot be followed. `preview`: by what is planned, as
    of a future time.
    """

    members = fields.List(fields.Nested(MemberSchema), required=True)
    next = UserIdCursor(required=True, allow_none=True)
    events_after = EventId(required=True, allow_none=True)
    preview = preview_mark()


ADDITION_QUERY = AdditionQuerySchema()
REMOVAL_QUERY = RemovalQuerySchema()
REPLACEMENT_QUERY = ReplacementQuerySchema()
MEMBERS_THEN = MembersThenSchema()
MEMBER_PAGE = MemberPageSchema()
CHANGED_MEMBERS = ChangedMembersSchema()
REPLACED_MEMBERS = ReplacedMembersSchema()
MEMBER_LIST = MemberListSchema()
USER_IDS_FILE = Text("text/csv", "user_id\n1000\n1002\n")
MEMBERS_CSV = Text(
    "text/csv",
    "user_id,source,since,expires_at\n1000,manual,2026-11-22T12:00:00.000000Z,\n",
)
