"""Schemas of users: their segments, memberships and history."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from segsvc.api.users import store
from segsvc.db.values import Term, rfc3339
from segsvc.http.fields import (
    EARLIEST,
    LATEST,
    TTL,
    Cursor,
    DescribedField,
    GivenList,
    PageSize,
    Percent,
    Point,
    Slug,
    StoredList,
    Timestamp,
    UserId,
    UserIdOrText,
    preview_mark,
)

MAX_SLUGS = 1000
MAX_USERS = 1000

_SLUG = Slug()
_TIMESTAMP = Timestamp()


@dataclass(frozen=True)
class Addition:
    """A segment to add a user to, when, and where the request says the start and the end."""

    slug: str
    term: Term
    start_place: tuple[str | int, ...]
    end_place: tuple[str | int, ...]


@dataclass(frozen=True)
class UserChange:
    """Segments to add a user to, and slugs of segments to remove the user from.

    `on_conflict` as in `store.change`.
    """

    add: list[Addition]
    remove: list[str]
    on_conflict: str


class EventCursor(Cursor):
    """The `next` of a page of events, to be sent as `after` as it is: its content may change."""

    json_schema: ClassVar = Cursor.json_schema | {
        "examples": ["2026-11-22T12:00:00.000000Z,VOICE_MESSAGES"],
    }

    def _parse(self, text: str) -> tuple[datetime, str]:
        at, _, slug = text.partition(",")
        return _TIMESTAMP.deserialize(at), _SLUG.deserialize(slug)

    def _serialize(self, value: tuple[datetime, str] | None, *_: Any, **__: Any) -> str | None:
        return None if value is None else f"{rfc3339(value[0])},{value[1]}"


class AsOfSchema(Schema):
    """`?at`."""

    at = Timestamp(load_default=None)


class EventPageSchema(Schema):
    """`?from&to&limit&after`."""

    start = Timestamp(data_key="from", load_default=EARLIEST)
    end = Timestamp(data_key="to", load_default=LATEST)
    limit = PageSize(load_default=100)
    after = EventCursor(load_default=(EARLIEST, ""))


class UserListSchema(Schema):
    """`{user_ids, at?}`."""

    user_ids = GivenList(
        UserIdOrText(),
        required=True,
        validate=validate.Length(1, MAX_USERS, error="must hold {min} to {max} user ids"),
    )
    at = Timestamp(load_default=None)


class TermSchema(Schema):
    """`{starts_at?}` and `{expires_at?}` or `{ttl?}`, not both."""

    starts_at = Timestamp()
    expires_at = Timestamp()
    ttl = TTL()

    @validates_schema
    def _refuse_two_ends(self, data: Mapping[str, Any], **_: Any) -> None:
        if "expires_at" in data and "ttl" in data:
            raise ValidationError({"ttl": ["give expires_at or ttl, not both"]})


class SegmentToAddSchema(TermSchema):
    """`{slug, starts_at?, expires_at? or ttl?}`."""

    slug = Slug(required=True)


class SlugOrSegmentToAdd(DescribedField):
    """A slug, or a slug with the start and the end of its membership."""

    json_schema: ClassVar = {"oneOf": [_SLUG.described(), SegmentToAddSchema]}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            return {"slug": _SLUG.deserialize(value)}
        loaded: dict[str, Any] = _SEGMENT_TO_ADD.load(value)
        return loaded


def _at_most_max_slugs(item: fields.Field[Any]) -> GivenList:
    limit = validate.Length(max=MAX_SLUGS, error="at most {max} slugs in one request")
    return GivenList(item, load_default=list, validate=limit)


class UserChangeSchema(TermSchema):
    """`{add?, remove?, starts_at?, expires_at? or ttl?, on_conflict?}`: one slug at least.

    No slug is in both lists. `on_conflict` says what becomes of memberships by hand in other
    segments of the layer: they refuse the request, end, or are suspended.
    """

    add = _at_most_max_slugs(SlugOrSegmentToAdd())
    remove = _at_most_max_slugs(Slug())
    on_conflict = fields.String(
        load_default=store.REFUSE, validate=validate.OneOf((store.REFUSE, *store.CHOICES))
    )

    @validates_schema
    def _refuse_contradictions(self, data: Mapping[str, Any], **_: Any) -> None:
        if not data["add"] and not data["remove"]:
            raise ValidationError("name at least one slug in add or remove")
        term = data.keys() & {"starts_at", "expires_at", "ttl"}
        if term and not data["add"]:
            raise ValidationError({name: ["needs a slug in add"] for name in term})
        added: dict[str, Term] = {}
        for place, addition in enumerate(_additions(data)):
            if added.setdefault(addition.slug, addition.term) != addition.term:
                raise ValidationError(
                    {"add": {place: ["is given more than once, with different times"]}}
                )
        wrong = {i: ["is in add too"] for i, slug in enumerate(data["remove"]) if slug in added}
        if wrong:
            raise ValidationError({"remove": wrong})

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> UserChange:
        return UserChange(list(_additions(data)), data["remove"], data["on_conflict"])


def _additions(data: Mapping[str, Any]) -> Iterator[Addition]:
    """Yield the additions of a request, with the common times where they have none themselves."""
    for i, item in enumerate(data["add"]):
        start, start_place = _given(item, data, i, {"starts_at"})
        end, end_place = _given(item, data, i, {"expires_at", "ttl"})
        yield Addition(item["slug"], Term(start, end), start_place, end_place)


def _given(
    item: Mapping[str, Any], data: Mapping[str, Any], index: int, names: set[str]
) -> tuple[Any, tuple[str | int, ...]]:
    """Return the value of one of `names`, and its place: the item's own, or the common one."""
    if name := next(iter(item.keys() & names), None):
        return item[name], ("add", index, name)
    if name := next(iter(data.keys() & names), None):
        return data[name], (name,)
    return None, ("add", index)


def _one_of(*words: str) -> fields.String:
    return fields.String(required=True, validate=validate.OneOf(words))


def _actor() -> fields.String:
    return fields.String(required=True, allow_none=True, metadata={"examples": ["ann"]})


class ChangedUserSchema(Schema):
    """What a request changed, and the segments that the user is in now."""

    user_id = UserId(required=True)
    added = StoredList(Slug())
    removed = StoredList(Slug())
    segments = StoredList(Slug())


class ListedUserSchema(Schema):
    """The segments that one of many users is in."""

    user_id = UserId(required=True)
    segments = StoredList(Slug())


class UserSegmentsSchema(ListedUserSchema):
    """The segments that a user is in. `preview`: by what is planned, as of a future time."""

    preview = preview_mark()


class UsersSegmentsSchema(Schema):
    """The segments of many users, in the order asked. `preview` as for one user."""

    users = StoredList(fields.Nested(ListedUserSchema))
    preview = preview_mark()


class MembershipSchema(Schema):
    """Why a user is in a segment, suspended or excluded; `by`: the segment that suspends it."""

    slug = Slug(required=True)
    state = _one_of("included", "suspended", "excluded")
    source = _one_of("manual", "rollout")
    by = Slug(attribute="by_slug", required=True, allow_none=True)
    since = Timestamp(required=True)
    expires_at = Timestamp(required=True, allow_none=True)
    percent = Percent(required=True, allow_none=True)
    point = Point(required=True, allow_none=True)
    actor = _actor()


class PlannedMembershipSchema(Schema):
    """A membership that begins later."""

    slug = Slug(required=True)
    starts_at = Timestamp(required=True)
    expires_at = Timestamp(required=True, allow_none=True)
    actor = _actor()


class MembershipsSchema(Schema):
    """Every segment that a user is in, suspended or excluded from, and what is planned."""

    user_id = UserId(required=True)
    memberships = fields.List(fields.Nested(MembershipSchema), required=True)
    upcoming = fields.List(fields.Nested(PlannedMembershipSchema), required=True)


class EventSchema(Schema):
    """A user entered a segment or left it."""

    at = Timestamp(required=True)
    slug = Slug(required=True)
    operation = _one_of("add", "remove")
    cause = _one_of("added", "removed", "moved", "expired", "rollout", "layer", "segment_deleted")
    actor = _actor()


class HistorySchema(Schema):
    """A page of events; `next` is the `after` of the next page, null on the last page."""

    user_id = UserId(required=True)
    events = fields.List(fields.Nested(EventSchema), required=True)
    next = EventCursor(required=True, allow_none=True)


AS_OF = AsOfSchema()
EVENT_PAGE = EventPageSchema()
USER_LIST = UserListSchema()
USER_CHANGE = UserChangeSchema()
_SEGMENT_TO_ADD = SegmentToAddSchema()
CHANGED_USER = ChangedUserSchema()
USER_SEGMENTS = UserSegmentsSchema()
USERS_SEGMENTS = UsersSegmentsSchema()
MEMBERSHIPS = MembershipsSchema()
HISTORY = HistorySchema()
