"""What requests about segments may hold."""

import re

from marshmallow import Schema, ValidationError, fields, validate

SLUG = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
MAX_PAGE = 1000
MAX_DESCRIPTION = 1000


def is_slug(value: str) -> None:
    """Check that `value` can name a segment.

    Raises:
        ValidationError: it cannot.
    """
    if not SLUG.fullmatch(value):
        raise ValidationError(
            "must be 1 to 64 of the characters A-Z, a-z, 0-9, _ and -, the first one a letter"
        )


def is_storable(value: str) -> None:
    """Check that PostgreSQL can store `value`.

    Raises:
        ValidationError: it holds NUL, or half of a surrogate pair.
    """
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValidationError("must not hold the character NUL or half a surrogate pair")


class NewSegment(Schema):
    """`{slug, description?}`."""

    slug = fields.String(required=True, validate=is_slug)
    description = fields.String(
        load_default="", validate=[validate.Length(max=MAX_DESCRIPTION), is_storable]
    )


class SegmentPage(Schema):
    """`?limit&after`."""

    limit = fields.Integer(load_default=100, validate=validate.Range(1, MAX_PAGE))
    after = fields.String(load_default="", validate=is_slug)


NEW_SEGMENT = NewSegment()
SEGMENT_PAGE = SegmentPage()
