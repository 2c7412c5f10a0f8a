"""What requests for evaluations may hold, and what is said of them when they are wrong."""

from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from segsvc.http import fields as values
from segsvc.http.requests import failures


class Failure(Exception):  # noqa: N818 (the protocol's word)
    """An evaluation fails: with an error code of the protocol, and what to do, in words."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


@values.described(type=["string", "integer"], examples=["1000"])
def _user_id(value: Any) -> int | None:
    """A user id in decimal digits, as the protocol's clients send it, or a JSON integer."""
    if value == "":
        return None
    return values.decimal_user_id(value) if isinstance(value, str) else values.user_id(value)


class Context(Schema):
    """Whom to evaluate for. Clients send all that they know; what else there is, is ignored."""

    user_id = fields.Function(deserialize=_user_id, data_key="targetingKey", load_default=None)


class Evaluation(Schema):
    """`{context: {targetingKey}}`."""

    context = fields.Nested(Context, unknown=EXCLUDE, load_default={"user_id": None})


EVALUATION = Evaluation(unknown=EXCLUDE)


def user_id_of(data: Any) -> int:
    """Return the user id in the JSON `data`.

    Raises:
        Failure: it is not the protocol's, or has no targeting key, or one that is no user id.
    """
    try:
        user_id: int | None = EVALUATION.load(data)["context"]["user_id"]
    except ValidationError as error:
        for path, detail in failures(error.messages):
            if path == ("context", "targetingKey"):
                raise Failure("INVALID_CONTEXT", f"the targetingKey, a user id, {detail}") from None
        usage = 'send an object: {"context": {"targetingKey": USER_ID}}'
        raise Failure("PARSE_ERROR", usage) from None
    if user_id is None:
        raise Failure("TARGETING_KEY_MISSING", "send the user id as the targetingKey")
    return user_id
