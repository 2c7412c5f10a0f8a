"""Schemas of layers."""

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from segsvc.api.layers.store import MAX_SEGMENTS, Change
from segsvc.api.segments.points import SPACE
from segsvc.http.fields import (
    Cursor,
    GivenList,
    LayerSlug,
    PageSize,
    Percent,
    Slug,
    Timestamp,
    preview_mark,
    switch,
)

_LAYER_SLUG = LayerSlug()


def _slugs(**options: Any) -> GivenList:
    limit = validate.Length(1, MAX_SEGMENTS, error="must hold {min} to {max} slugs")
    return GivenList(Slug(), validate=limit, **options)


def _refuse_repeated(name: str, slugs: list[str]) -> None:
    wrong = {i: ["is given more than once"] for i, slug in enumerate(slugs) if slug in slugs[:i]}
    if wrong:
        raise ValidationError({name: wrong})


class NewLayerSchema(Schema):
    """`{slug, segments, redeal?}`."""

    slug = LayerSlug(required=True)
    segments = _slugs(required=True)
    redeal = switch()

    @validates_schema
    def _refuse_repeated(self, data: Mapping[str, Any], **_: Any) -> None:
        _refuse_repeated("segments", data["segments"])


class LayerChangeSchema(Schema):
    """`{add?, remove?, percents?, plan?, redeal?}`: segments, and percentages by slug.

    `plan` says what becomes of pending plans of these percentages, `redeal` that percentages of
    segments which enter or leave may take other users.
    """

    add = _slugs(load_default=list)
    remove = _slugs(load_default=list)
    percents = fields.Dict(
        Slug(),
        Percent(allow_none=True),
        load_default=dict,
        validate=validate.Length(1, MAX_SEGMENTS, error="must hold {min} to {max} slugs"),
    )
    plan = fields.String(load_default=None, validate=validate.OneOf(("keep", "cancel")))
    redeal = switch()

    @validates_schema
    def _refuse_contradictions(self, data: Mapping[str, Any], **_: Any) -> None:
        if not data["add"] and not data["remove"] and not data["percents"]:
            raise ValidationError("name at least one slug in add, remove or percents")
        _refuse_repeated("add", data["add"])
        _refuse_repeated("remove", data["remove"])
        named = {*data["add"], *data["percents"]}
        wrong = {i: ["is named twice"] for i, slug in enumerate(data["remove"]) if slug in named}
        if wrong:
            raise ValidationError({"remove": wrong})
        if data["plan"] and not data["percents"]:
            raise ValidationError({"plan": ["needs percents"]})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Change:
        return Change(**data)


class LayerDeletionSchema(Schema):
    """`?redeal`."""

    redeal = switch(in_query=True)


class LayerCursor(Cursor):
    """The `next` of a page of layers, to be sent as `after` as it is: its content may change."""

    json_schema: ClassVar = Cursor.json_schema | {"examples": ["DISCOUNTS"]}

    def _parse(self, text: str) -> str:
        slug: str = _LAYER_SLUG.deserialize(text)
        return slug


class LayerPageSchema(Schema):
    """`?limit&after`."""

    limit = PageSize(load_default=100)
    after = LayerCursor(load_default="")


class ListedLayerSchema(Schema):
    """A live layer with the slugs of its segments, sorted."""

    slug = LayerSlug(required=True)
    created_at = Timestamp(required=True)
    segments = fields.List(Slug(), required=True)


class LayerListSchema(Schema):
    """A page of layers; `next` is the `after` of the next page, null on the last page."""

    layers = fields.List(fields.Nested(ListedLayerSchema), required=True)
    next = LayerCursor(required=True, allow_none=True)


class RangeSchema(Schema):
    """Points from `from`, inclusive, to `to`, exclusive; all points are 0 to 2^32."""

    start = fields.Integer(data_key="from", required=True, metadata={"examples": [0]})
    end = fields.Integer(data_key="to", required=True, metadata={"examples": [SPACE // 10]})


class ShareSchema(Schema):
    """A segment of a layer: its percentage, null in a manual one, and the points that it has."""

    slug = Slug(required=True)
    percent = Percent(required=True, allow_none=True)
    ranges = fields.List(fields.Nested(RangeSchema), required=True)


class LayerSchema(Schema):
    """A layer at a time: the salt of its points, its segments, and the percentage that is free.

    `preview`: by what is planned, as of a future time.
    """

    slug = LayerSlug(required=True)
    salt = Slug(required=True)
    created_at = Timestamp(required=True)
    segments = fields.List(fields.Nested(ShareSchema), required=True)
    free = Percent(required=True)
    preview = preview_mark()


NEW_LAYER = NewLayerSchema()
LAYER_CHANGE = LayerChangeSchema()
LAYER_DELETION = LayerDeletionSchema()
LAYER_PAGE = LayerPageSchema()
LAYER_LIST = LayerListSchema()
LAYER = LayerSchema()
