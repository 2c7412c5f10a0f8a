"""Schemas of segments."""

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, validates_schema

from segsvc.http.fields import Cursor, Description, PageSize, Percent, Slug, Timestamp

_SLUG = Slug()


class NewSegmentSchema(Schema):
    """`{slug, description?, percent?}`."""

    slug = Slug(required=True)
    description = Description(load_default="")
    percent = Percent(load_default=None)


class SegmentChangeSchema(Schema):
    """`{description?, percent?}`: at least one of them."""

    description = Description()
    percent = Percent(allow_none=True)

    @validates_schema
    def _require_a_change(self, data: Mapping[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError("name a description or a percent to change")


class SlugCursor(Cursor):
    """The `next` of a page of segments, to be sent as `after` as it is: its content may change."""

    json_schema: ClassVar = Cursor.json_schema | {"examples": ["VOICE_MESSAGES"]}

    def _parse(self, text: str) -> str:
        slug: str = _SLUG.deserialize(text)
        return slug


class SegmentPageSchema(Schema):
    """`?limit&after`."""

    limit = PageSize(load_default=100)
    after = SlugCursor(load_default="")


class ListedSegmentSchema(Schema):
    """A live segment; `percent` is null in a manual one."""

    slug = Slug(required=True)
    description = Description(required=True)
    percent = Percent(required=True, allow_none=True)
    created_at = Timestamp(required=True)


class SegmentSchema(ListedSegmentSchema):
    """A live segment; `members` counts the users who are in by hand now."""

    members = fields.Integer(required=True, metadata={"examples": [2]})


class SegmentListSchema(Schema):
    """A page of segments; `next` is the `after` of the next page, null on the last page."""

    segments = fields.List(fields.Nested(ListedSegmentSchema), required=True)
    next = SlugCursor(required=True, allow_none=True)


NEW_SEGMENT = NewSegmentSchema()
SEGMENT_CHANGE = SegmentChangeSchema()
SEGMENT_PAGE = SegmentPageSchema()
SEGMENT = SegmentSchema()
SEGMENT_LIST = SegmentListSchema()
