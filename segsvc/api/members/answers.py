"""What is answered about the members of segments."""

from marshmallow import Schema, fields, validate

from segsvc.http import fields as values
from segsvc.http.routes import Text
from segsvc.openapi.plugin import answered


class Imported(Schema):
    """What became of the ids in a file."""

    received = fields.Integer(required=True, metadata={"examples": [100000]})
    changed = fields.Integer(required=True, metadata={"examples": [99998]})
    unchanged = fields.Integer(required=True, metadata={"examples": [2]})


class Member(Schema):
    """A user who is in the segment, and by what."""

    user_id = answered(values.user_id)
    source = fields.String(required=True, validate=validate.OneOf(("manual", "rollout")))
    since = answered(values.timestamp)
    expires_at = answered(values.timestamp, null=True)


class MemberList(Schema):
    """A page of members; `next` goes into `after` of the next one, and is null on the last."""

    members = fields.List(fields.Nested(Member), required=True)
    next = answered(values.user_id, null=True)


IMPORTED = Imported()
MEMBER_LIST = MemberList()
MEMBERS_FILE = Text("text/csv", "user_id\n1000\n1002\n")
MEMBERS_CSV = Text(
    "text/csv",
    "user_id,source,since,expires_at\n1000,manual,2026-11-22T12:00:00.000000Z,\n",
)
