"""Sets of users that are named by segments: in any of some, in all of others, in none of others."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from segsvc.api.members.store import Part, UserSet
from segsvc.api.segments import store as segments
from segsvc.db import clock
from segsvc.db.conditions import SegmentsNotLive
from segsvc.db.pool import Connection
from segsvc.db.values import rfc3339
from segsvc.http.fields import DescribedField, GivenList, Slug, Timestamp
from segsvc.http.problems import UnknownSegments
from segsvc.http.requests import Path, pointer, refusal

MAX_SEGMENTS = 100

_SLUG = Slug()


@dataclass(frozen=True)
class NamedSegment:
    """A segment as of a time, None for now, and what it is to the set.

    `place` and `time_place` are where a body says which segment, and as of when.
    """

    slug: str
    at: datetime | None
    part: Part
    place: Path
    time_place: Path


class SlugAtSchema(Schema):
    """`{slug, at}`: a segment as it was at a time; it may have been deleted since."""

    slug = Slug(required=True)
    at = Timestamp(required=True)


class SlugOrSlugAt(DescribedField):
    """A slug, or a slug with the time at which its members count."""

    json_schema: ClassVar = {"oneOf": [_SLUG.described(), SlugAtSchema]}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            return {"slug": _SLUG.deserialize(value), "at": None}
        loaded: dict[str, Any] = _SLUG_AT.load(value)
        return loaded


def _segments() -> GivenList:
    limit = validate.Length(max=MAX_SEGMENTS, error="at most {max} segments")
    return GivenList(SlugOrSlugAt(), load_default=list, validate=limit)


class PartsSchema(Schema):
    """`{any_of?, all_of?, none_of?}`: who is in one of these, in all of those, in none of the last.

    One of the first two is needed: who is in none of some segments is not known.
    """

    any_of = _segments()
    all_of = _segments()
    none_of = _segments()

    @validates_schema
    def _require_a_segment(self, data: Mapping[str, Any], **_: Any) -> None:
        if not data["any_of"] and not data["all_of"]:
            raise ValidationError("name segments in any_of or all_of")


class UserSetSchema(Schema):
    """`{from, at?}`: users by the segments that they are in, now or as of a past time."""

    parts = fields.Nested(PartsSchema, data_key="from", required=True)
    at = Timestamp(load_default=None)

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Any:
        return named(data["parts"], data["at"])


def named(parts: Mapping[str, Any], at: datetime | None) -> list[NamedSegment]:
    """Return the segments that a loaded `from` names, as of `at` where it says no other time."""
    found = []
    for part in Part:
        for index, each in enumerate(parts[f"{part}_of"]):
            place = ("from", f"{part}_of", index)
            time_place = (*place, "at") if each["at"] else ("at",)
            found.append(NamedSegment(each["slug"], each["at"] or at, part, place, time_place))
    return found


def shown(wanted: list[NamedSegment]) -> dict[str, list[Any]]:
    """Return a set as a body would say it, each segment with its time."""
    return {
        f"{part}_of": [
            {"slug": each.slug, "at": rfc3339(each.at)} if each.at else each.slug
            for each in wanted
            if each.part is part
        ]
        for part in Part
    }


async def resolve(conn: Connection, wanted: list[NamedSegment]) -> UserSet:
    """Return the set with the segments that had the slugs at the times.

    Raises:
        InvalidRequest: a time is in the future.
        UnknownSegments: no segment had the slug at the time.
    """
    now = await clock.now(conn)
    late = {each.time_place: None for each in wanted if each.at and each.at > now}
    if late:
        raise refusal("is in the future", *late)
    ids, errors = [], []
    for each in wanted:
        try:
            ids.append(await segments.find(conn, each.slug, each.at))
        except SegmentsNotLive:
            live = "had the slug then" if each.at else "has the slug"
            detail = f"no live segment {live}: {each.slug}"
            errors.append({"pointer": pointer(*each.place), "detail": detail})
    if errors:
        raise UnknownSegments(errors)
    return UserSet(ids, [each.at for each in wanted], [each.part for each in wanted])


_SLUG_AT = SlugAtSchema()
USER_SET = UserSetSchema()
