"""Schemas of segments."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from segsvc.api.segments.percentages import Step
from segsvc.http.fields import (
    Cursor,
    Description,
    LayerSlug,
    PageSize,
    Percent,
    PercentText,
    Slug,
    Timestamp,
    preview_mark,
)

MAX_STEPS = 100

_SLUG = Slug()


class NewSegmentSchema(Schema):
    """`{slug, description?, percent?}`."""

    slug = Slug(required=True)
    description = Description(load_default="")
    percent = Percent(load_default=None)


class SegmentChangeSchema(Schema):
    """`{description?, percent?, plan?, ends_at?}`: at least one, and a plan only with a percent."""

    description = Description()
    percent = Percent(allow_none=True)
    ends_at = Timestamp(allow_none=True)
    plan = fields.String(validate=validate.OneOf(("keep", "cancel")))

    @validates_schema
    def _require_a_change(self, data: Mapping[str, Any], **_: Any) -> None:
        if "plan" in data and "percent" not in data:
            raise ValidationError({"plan": ["needs a percent"]})
        if not data:
            raise ValidationError("name a description, a percent or ends_at to change")


class StepSchema(Schema):
    """The percentage from a time on; null makes the segment manual."""

    at = Timestamp(required=True)
    percent = Percent(required=True, allow_none=True)

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Step:
        return Step(**data)


class PlanSchema(Schema):
    """What is planned for the percentage of a segment, in the order of the times."""

    steps = fields.List(
        fields.Nested(StepSchema),
        required=True,
        validate=validate.Length(1, MAX_STEPS, error="must hold {min} to {max} steps"),
    )

    @validates_schema
    def _require_an_order(self, data: Mapping[str, Any], **_: Any) -> None:
        for i, (before, step) in enumerate(pairwise(data["steps"]), start=1):
            if step.at <= before.at:
                detail = "must be after the step before it"
                raise ValidationError({"steps": {i: {"at": [detail]}}})


class PreviewQuerySchema(Schema):
    """`?percent&at`."""

    percent = PercentText(required=True)
    at = Timestamp(load_default=None)


class PreviewSchema(Schema):
    """How many known users would enter and leave if the segment had the percentage at the time."""

    percent = Percent(required=True, allow_none=True)
    at = Timestamp(required=True)
    enter = fields.Integer(required=True, metadata={"examples": [100]})
    leave = fields.Integer(required=True, metadata={"examples": [0]})


class StoredPlanSchema(Schema):
    """What is planned for the percentage of a segment; no steps: nothing."""

    steps = fields.List(fields.Nested(StepSchema), required=True)


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
    """A live segment; `percent` is null in a manual one, `ends_at` and `layer` without one."""

    slug = Slug(required=True)
    description = Description(required=True)
    percent = Percent(required=True, allow_none=True)
    created_at = Timestamp(required=True)
    ends_at = Timestamp(required=True, allow_none=True)
    layer = LayerSlug(required=True, allow_none=True)


class SegmentSchema(ListedSegmentSchema):
    """A live segment; `members` counts the users who are in by hand now."""

    members = fields.Integer(required=True, metadata={"examples": [2]})


class SegmentThenSchema(SegmentSchema):
    """A segment at a time. `preview`: by what is planned, as of a future time."""

    preview = preview_mark()


class SegmentListSchema(Schema):
    """A page of segments; `next` is the `after` of the next page, null on the last page."""

    segments = fields.List(fields.Nested(ListedSegmentSchema), required=True)
    next = SlugCursor(required=True, allow_none=True)


PLAN = PlanSchema()
PREVIEW_QUERY = PreviewQuerySchema()
PREVIEW = PreviewSchema()
STORED_PLAN = StoredPlanSchema()
NEW_SEGMENT = NewSegmentSchema()
SEGMENT_CHANGE = SegmentChangeSchema()
SEGMENT_PAGE = SegmentPageSchema()
SEGMENT = SegmentSchema()
SEGMENT_THEN = SegmentThenSchema()
SEGMENT_LIST = SegmentListSchema()
