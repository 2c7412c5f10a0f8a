"""Schemas of the feed."""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields

from segsvc.api.events.store import RESOLUTION, Position
from segsvc.api.users.schemas import EventSchema
from segsvc.db.values import MAX_BIGINT, SLUG
from segsvc.http.fields import (
    Cursor,
    DescribedField,
    PageSize,
    Slug,
    Timestamp,
    UserId,
)
from segsvc.http.routes import Text

# Seconds.
LONGEST_WAIT = 30

MAX_SLUGS = 100

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_POSITION = re.compile(r"(-?\d{1,18})_(\d{1,19})_(\d{1,19})", re.ASCII)
_SLUG = Slug()
_TIMESTAMP = Timestamp()


class Start(StrEnum):
    """Where to begin without a cursor."""

    NOW = "now"
    OLDEST = "oldest"


class EventId(Cursor):
    """The id of an event, which is also the cursor after it: the same each time it is read."""

    json_schema: ClassVar = Cursor.json_schema | {"examples": ["1795348800000000_12_1000"]}

    def _parse(self, text: str) -> Position:
        found = _POSITION.fullmatch(text)
        if not found:
            raise ValueError(text)
        microseconds, segment_id, user_id = map(int, found.groups())
        if max(segment_id, user_id) > MAX_BIGINT:
            raise ValueError(text)
        try:
            return Position(EPOCH + microseconds * RESOLUTION, segment_id, user_id)
        except OverflowError:
            raise ValueError(text) from None

    def _serialize(self, value: Position | None, *_: Any, **__: Any) -> str | None:
        return None if value is None else _text(value)


def _text(position: Position) -> str:
    return f"{(position.at - EPOCH) // RESOLUTION}_{position.segment_id}_{position.user_id}"


def after_header(position: Position | None) -> dict[str, str]:
    """Return the header that says where the feed continues a stream; none if it cannot."""
    return {} if position is None else {"Events-After": _text(position)}


class FeedCursor(EventId):
    """Where to continue: the `next` of a page, an id of an event, a time, or `now`."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Position | Start:
        if value == Start.NOW:
            return Start.NOW
        try:
            return self._parse(value)
        except ValueError:
            pass
        try:
            return Position.after(_TIMESTAMP.deserialize(value))
        except ValidationError:
            raise ValidationError(
                "must be the next of the page before, the id of an event, now, or a time with an"
                " offset, such as 2026-11-22T12:00:00Z"
            ) from None


class Slugs(DescribedField):
    """Slugs of segments, separated by commas, 100 at most: only their events."""

    json_schema: ClassVar = {
        "type": "string",
        "pattern": f"^{SLUG.pattern}(,{SLUG.pattern})*$",
        "examples": ["VOICE_MESSAGES,DISCOUNT_30"],
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        slugs = [_SLUG.deserialize(slug) for slug in value.split(",")]
        if len(slugs) > MAX_SLUGS:
            raise ValidationError(f"at most {MAX_SLUGS} slugs")
        return slugs


class Wait(DescribedField):
    """How long to wait for an event if there is none yet: 0 to 30 seconds."""

    json_schema: ClassVar = {
        "type": "integer",
        "minimum": 0,
        "maximum": LONGEST_WAIT,
        "examples": [30],
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if not re.fullmatch(r"[0-9]|[12][0-9]|30", value, re.ASCII):
            raise ValidationError(f"must be an integer, in seconds, from 0 to {LONGEST_WAIT}")
        return int(value)


class EventPageOfSegmentSchema(Schema):
    """`?after&limit&wait`: without `after`, the first page begins with the oldest event kept."""

    after = FeedCursor(load_default=Start.OLDEST)
    limit = PageSize(load_default=100)
    wait = Wait(load_default=0)


class EventPageSchema(EventPageOfSegmentSchema):
    """`?after&limit&wait&segment`: of all segments, or of some."""

    segment = Slugs(load_default=None)


class FeedEventSchema(EventSchema):
    """A user entered a segment or left it. The `id` is the same whenever it is read."""

    id = EventId(required=True)
    user_id = UserId(required=True)

    class Meta:
        """The order of the fields."""

        fields = ("id", "at", "user_id", "slug", "operation", "cause", "actor")


class EventListSchema(Schema):
    """Events in the order of time, segment and user; send `next` as `after`, also if there is none.

    All events before `horizon` are there. `more`: there may be more of them after this page.
    """

    events = fields.List(fields.Nested(FeedEventSchema), required=True)
    next = EventId(required=True)
    horizon = Timestamp(required=True)
    more = fields.Boolean(required=True, metadata={"examples": [False]})


EVENT_PAGE = EventPageSchema()
EVENT_PAGE_OF_SEGMENT = EventPageOfSegmentSchema()
EVENT = FeedEventSchema()
EVENT_LIST = EventListSchema()
EVENT_LINES = Text(
    "application/x-ndjson",
    '{"id": "1795348800000000_12_1000", "at": "2026-11-22T12:00:00.000000Z", "user_id": 1000,'
    ' "slug": "VOICE_MESSAGES", "operation": "add", "cause": "added", "actor": "ann"}\n',
)
