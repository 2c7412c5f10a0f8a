"""Schemas of the audit log."""

from typing import ClassVar

from marshmallow import Schema, fields

from segsvc.http.fields import IdCursor, PageSize, Slug, Timestamp


class EntryCursor(IdCursor):
    """The `next` of a page of the audit log, to be sent as `after` as it is: it may change."""

    json_schema: ClassVar = IdCursor.json_schema | {"examples": ["41"]}


class AuditPageSchema(Schema):
    """`?slug&actor&limit&after`: all, or of one segment, layer or key, or by one key."""

    slug = Slug(load_default=None)
    actor = Slug(load_default=None)
    limit = PageSize(load_default=100)
    after = EntryCursor(load_default=None)


class EntrySchema(Schema):
    """A change: who made it, in which request, of what, and the values before and after.

    `actor` is null without a key and for the command line of the operator, which has no request
    either. `slug` names a segment, a layer or a key; it is null when a user was erased.
    """

    id = fields.Integer(required=True, metadata={"examples": [42]})
    at = Timestamp(required=True)
    actor = fields.String(required=True, allow_none=True, metadata={"examples": ["ann"]})
    request_id = fields.String(
        required=True, allow_none=True, metadata={"examples": ["5b0c2d4f6a8e1c3b"]}
    )
    action = fields.String(required=True, metadata={"examples": ["segment.change"]})
    slug = Slug(required=True, allow_none=True)
    details = fields.Dict(
        required=True,
        metadata={"examples": [{"before": {"percent": 10.0}, "after": {"percent": 25.0}}]},
    )


class EntryListSchema(Schema):
    """A page of the log, the newest first; `next` is the `after` of the next page, or null."""

    entries = fields.List(fields.Nested(EntrySchema), required=True)
    next = EntryCursor(required=True, allow_none=True)


AUDIT_PAGE = AuditPageSchema()
ENTRY_LIST = EntryListSchema()
