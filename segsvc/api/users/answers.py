"""What is answered about the segments of users."""

from marshmallow import Schema, fields, validate

from segsvc.api.users.schemas import event_cursor
from segsvc.http import fields as values
from segsvc.openapi.plugin import answered


def _slugs() -> fields.List[str]:
    return fields.List(answered(values.slug), required=True)


def _one_of(*words: str) -> fields.String:
    return fields.String(required=True, validate=validate.OneOf(words))


def _actor() -> fields.String:
    return fields.String(required=True, allow_none=True, metadata={"examples": ["ann"]})


class ChangedUser(Schema):
    """What a request changed, and the segments that the user is in now."""

    user_id = answered(values.user_id)
    added = _slugs()
    removed = _slugs()
    segments = _slugs()


class UserSegments(Schema):
    """The segments that a user is in."""

    user_id = answered(values.user_id)
    segments = _slugs()


class UsersSegments(Schema):
    """The segments of many users, in the order asked."""

    users = fields.List(fields.Nested(UserSegments), required=True)


class Membership(Schema):
    """Why a user is in a segment or kept out: `point` below `percent` is in by percentage."""

    slug = answered(values.slug)
    state = _one_of("included", "excluded")
    source = _one_of("manual", "rollout")
    since = answered(values.timestamp)
    expires_at = answered(values.timestamp, null=True)
    percent = answered(values.percent, null=True)
    point = fields.Float(required=True, allow_none=True, metadata={"examples": [2.143114]})
    actor = _actor()


class Memberships(Schema):
    """Every segment that a user is in or kept out of."""

    user_id = answered(values.user_id)
    memberships = fields.List(fields.Nested(Membership), required=True)


class Event(Schema):
    """An entry into a segment or an exit, with its cause."""

    at = answered(values.timestamp)
    slug = answered(values.slug)
    operation = _one_of("add", "remove")
    cause = _one_of("added", "removed", "expired", "rollout", "segment_deleted")
    actor = _actor()


class History(Schema):
    """A page of events; `next` goes into `after` of the next one, and is null on the last."""

    user_id = answered(values.user_id)
    events = fields.List(fields.Nested(Event), required=True)
    next = answered(event_cursor, null=True)


CHANGED_USER = ChangedUser()
USER_SEGMENTS = UserSegments()
USERS_SEGMENTS = UsersSegments()
MEMBERSHIPS = Memberships()
HISTORY = History()
