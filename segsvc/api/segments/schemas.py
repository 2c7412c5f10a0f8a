"""What requests about segments may hold."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from segsvc.http import fields as values


class NewSegment(Schema):
    """`{slug, description?, percent?}`."""

    slug = fields.Function(deserialize=values.slug, required=True)
    description = fields.Function(deserialize=values.description, load_default="")
    percent = fields.Function(deserialize=values.percent, load_default=None)


class SegmentChange(Schema):
    """`{description?, percent?}`: one of them at least."""

    description = fields.Function(deserialize=values.description)
    percent = fields.Function(deserialize=values.percent, allow_none=True)

    @validates_schema
    def _changes_something(self, data: Mapping[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError("name a description or a percent to change")


class SegmentPage(Schema):
    """`?limit&after`."""

    limit = fields.Function(deserialize=values.page_size, load_default=100)
    after = fields.Function(deserialize=values.slug, load_default="")


NEW_SEGMENT = NewSegment()
SEGMENT_CHANGE = SegmentChange()
SEGMENT_PAGE = SegmentPage()
