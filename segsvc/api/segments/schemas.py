"""Schemas of segments."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from segsvc.api.members.sets import PartsSchema
from segsvc.api.segments.percentages import Step
from segsvc.api.segments.stats import Interval
from segsvc.api.segments.store import Sort
from segsvc.db.values import MAX_BIGINT
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
_RANK = re.compile(r"0|[1-9][0-9]{0,18}")


class NewSegmentSchema(Schema):
    """`{slug, description?, percent?, from?, at?}`: `from` says who is in it from the beginning."""

    slug = Slug(required=True)
    description = Description(load_default="")
    percent = Percent(load_default=None)
    parts = fields.Nested(PartsSchema, data_key="from", load_default=None)
    at = Timestamp(load_default=None)

    @validates_schema
    def _refuse_a_time_alone(self, data: Mapping[str, Any], **_: Any) -> None:
        if data["at"] and not data["parts"]:
            raise ValidationError({"at": ["needs from"]})


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


class SegmentCursor(Cursor):
    """The `next` of a page of segments, to be sent as `after` as it is: its content may change."""

    json_schema: ClassVar = Cursor.json_schema | {"examples": ["VOICE_MESSAGES"]}

    def _parse(self, text: str) -> tuple[int | None, str]:
        rank, comma, slug = text.rpartition(",")
        if comma and (not _RANK.fullmatch(rank) or int(rank) > MAX_BIGINT):
            raise ValueError(rank)
        return int(rank) if comma else None, _SLUG.deserialize(slug)

    def _serialize(self, value: tuple[int | None, str] | None, *_: Any, **__: Any) -> str | None:
        if value is None:
            return None
        rank, slug = value
        return slug if rank is None else f"{rank},{slug}"


class SegmentPageSchema(Schema):
    """`?q&sort&limit&after`: `q` is a part of the slug or the description, in any case.

    By `created_at`, the newest come first; by `members`, those with the most users by hand.
    """

    q = Description(load_default=None, metadata={"examples": ["voice"]})
    sort = fields.Enum(Sort, by_value=True, load_default=Sort.SLUG)
    limit = PageSize(load_default=100)
    after = SegmentCursor(load_default=None)

    @validates_schema
    def _refuse_the_cursor_of_another_order(self, data: Mapping[str, Any], **_: Any) -> None:
        if data["after"] and (data["after"][0] is None) != (data["sort"] is Sort.SLUG):
            raise ValidationError({"after": ["must be the next of the page before"]})


class ShownSegmentSchema(Schema):
    """A live segment; `percent` is null in a manual one, `ends_at` and `layer` without one."""

    slug = Slug(required=True)
    description = Description(required=True)
    percent = Percent(required=True, allow_none=True)
    created_at = Timestamp(required=True)
    ends_at = Timestamp(required=True, allow_none=True)
    layer = LayerSlug(required=True, allow_none=True)


class ListedSegmentSchema(ShownSegmentSchema):
    """A live segment in a list; `members` is there if the list is sorted by it."""

    members = fields.Integer(metadata={"examples": [2]})


class SegmentSchema(ShownSegmentSchema):
    """A live segment; `members` counts the users who are in by hand now."""

    members = fields.Integer(required=True, metadata={"examples": [2]})


class SegmentThenSchema(SegmentSchema):
    """A segment at a time. `preview`: by what is planned, as of a future time."""

    preview = preview_mark()


class SegmentListSchema(Schema):
    """A page of segments; `next` is the `after` of the next page, null on the last page."""

    segments = fields.List(fields.Nested(ListedSegmentSchema), required=True)
    next = SegmentCursor(required=True, allow_none=True)


class StatsQuerySchema(Schema):
    """`?from&to&step`: steps of time, by default the last 30; without an end, up to now."""

    start = Timestamp(data_key="from", load_default=None)
    end = Timestamp(data_key="to", load_default=None)
    interval = fields.Enum(Interval, by_value=True, data_key="step", load_default=Interval.DAY)


class StatsSchema(Schema):
    """A step of time that begins at `at`: who was in at its end, and who joined and left in it.

    Users by percentage are the known ones.
    """

    at = Timestamp(required=True)
    members = fields.Integer(required=True, metadata={"examples": [1200]})
    by_hand = fields.Integer(required=True, metadata={"examples": [200]})
    by_percentage = fields.Integer(required=True, metadata={"examples": [1000]})
    joined = fields.Integer(required=True, metadata={"examples": [30]})
    left = fields.Integer(required=True, metadata={"examples": [10]})


class StatsListSchema(Schema):
    """The steps, in the order of time."""

    stats = fields.List(fields.Nested(StatsSchema), required=True)


PLAN = PlanSchema()
STATS_QUERY = StatsQuerySchema()
STATS = StatsListSchema()
PREVIEW_QUERY = PreviewQuerySchema()
PREVIEW = PreviewSchema()
STORED_PLAN = StoredPlanSchema()
NEW_SEGMENT = NewSegmentSchema()
SEGMENT_CHANGE = SegmentChangeSchema()
SEGMENT_PAGE = SegmentPageSchema()
SEGMENT = SegmentSchema()
SEGMENT_THEN = SegmentThenSchema()
SEGMENT_LIST = SegmentListSchema()
