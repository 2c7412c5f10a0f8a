"""What is answered about segments."""

from marshmallow import Schema, fields

from segsvc.http import fields as values
from segsvc.openapi.plugin import answered


class ListedSegment(Schema):
    """A live segment; `percent` is null in a manual one."""

    slug = answered(values.slug)
    description = answered(values.description)
    percent = answered(values.percent, null=True)
    created_at = answered(values.timestamp)


class Segment(ListedSegment):
    """A live segment; `members` counts those who are in by hand now."""

    members = fields.Integer(required=True, metadata={"examples": [2]})


class SegmentList(Schema):
    """A page of segments; `next` goes into `after` of the next one, and is null on the last."""

    segments = fields.List(fields.Nested(ListedSegment), required=True)
    next = answered(values.slug, null=True)


SEGMENT = Segment()
SEGMENT_LIST = SegmentList()
