"""What requests about the segments of users may hold."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from segsvc.http import fields as values

MAX_SLUGS = 1000
MAX_USERS = 1000

# The end of a membership: a time, a time from when it is written, or none.
Expiry = datetime | timedelta | None


@dataclass(frozen=True)
class Addition:
    """A segment to put a user into, until when, and where in the request that end stands."""

    slug: str
    expiry: Expiry
    place: tuple[str | int, ...]


@dataclass(frozen=True)
class Change:
    """Segments to put a user into, and slugs of those to take the user out of."""

    add: list[Addition]
    remove: list[str]


@values.described(type="string", examples=["2026-11-22T12:00:00.000000Z,VOICE_MESSAGES"])
def event_cursor(value: str) -> tuple[datetime, str]:
    """The place of an event in a history: its time and its slug, with a comma between."""
    at, _, slug = value.partition(",")
    try:
        return values.timestamp(at), values.slug(slug)
    except ValidationError:
        raise ValidationError("must be the next of the page before") from None


class Moment(Schema):
    """`?at`."""

    at = fields.Function(deserialize=values.timestamp, load_default=None)


class EventPage(Schema):
    """`?from&to&limit&after`: `after` is the `next` of the page before."""

    start = fields.Function(
        deserialize=values.timestamp, data_key="from", load_default=values.EARLIEST
    )
    end = fields.Function(deserialize=values.timestamp, data_key="to", load_default=values.LATEST)
    limit = fields.Function(deserialize=values.page_size, load_default=100)
    after = fields.Function(deserialize=event_cursor, load_default=(values.EARLIEST, ""))


class UserList(Schema):
    """`{user_ids}`."""

    user_ids = fields.List(
        fields.Function(deserialize=values.user_id),
        required=True,
        validate=validate.Length(1, MAX_USERS, error="must hold {min} to {max} user ids"),
    )


class Expiring(Schema):
    """`{expires_at?}` or `{ttl?}`, not both."""

    expires_at = fields.Function(deserialize=values.timestamp)
    ttl = fields.Function(deserialize=values.ttl)

    @validates_schema
    def _one_expiry(self, data: Mapping[str, Any], **_: Any) -> None:
        if "expires_at" in data and "ttl" in data:
            raise ValidationError({"ttl": ["give expires_at or ttl, not both"]})


class SegmentToAdd(Expiring):
    """`{slug, expires_at? or ttl?}`."""

    slug = fields.Function(deserialize=values.slug, required=True)


def _slugs(item: Any) -> fields.List[Any]:
    limit = validate.Length(max=MAX_SLUGS, error="at most {max} slugs in one request")
    return fields.List(item, load_default=list, validate=limit)


@values.described(oneOf=[values.JSON_SCHEMAS[values.slug], SegmentToAdd])
def _addition(value: Any) -> dict[str, Any]:
    """A slug, or one with an expiry of its own."""
    if not isinstance(value, dict):
        return {"slug": values.slug(value)}
    loaded: dict[str, Any] = _SEGMENT_TO_ADD.load(value)
    return loaded


class UserChange(Expiring):
    """`{add?, remove?, expires_at? or ttl?}`: at least one slug, and none in both lists."""

    add = _slugs(fields.Function(deserialize=_addition))
    remove = _slugs(fields.Function(deserialize=values.slug))

    @validates_schema
    def _one_wish_a_slug(self, data: Mapping[str, Any], **_: Any) -> None:
        if not data["add"] and not data["remove"]:
            raise ValidationError("name at least one slug in add or remove")
        expiry = data.keys() & {"expires_at", "ttl"}
        if expiry and not data["add"]:
            raise ValidationError(
                {name: ["there is no slug in add to hold for"] for name in expiry}
            )
        added: dict[str, Expiry] = {}
        for place, addition in enumerate(_additions(data)):
            if added.setdefault(addition.slug, addition.expiry) != addition.expiry:
                raise ValidationError({"add": {place: ["stands twice, with different expiries"]}})
        wrong = {i: ["is in add too"] for i, slug in enumerate(data["remove"]) if slug in added}
        if wrong:
            raise ValidationError({"remove": wrong})

    @post_load
    def _freeze(self, data: Mapping[str, Any], **_: Any) -> Change:
        return Change(list(_additions(data)), data["remove"])


def _additions(data: Mapping[str, Any]) -> Iterator[Addition]:
    """Yield the additions of a request, with the common expiry where they have none."""
    for i, own in enumerate(data["add"]):
        if name := next(iter(own.keys() - {"slug"}), None):
            yield Addition(own["slug"], own[name], ("add", i, name))
        elif name := next(iter(data.keys() & {"expires_at", "ttl"}), None):
            yield Addition(own["slug"], data[name], (name,))
        else:
            yield Addition(own["slug"], None, ("add", i))


MOMENT = Moment()
EVENT_PAGE = EventPage()
USER_LIST = UserList()
USER_CHANGE = UserChange()
_SEGMENT_TO_ADD = SegmentToAdd()
