"""Schemas of OFREP evaluations: fields and error codes are the protocol's."""

from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from segsvc.db.values import MAX_USER_ID
from segsvc.http.fields import Slug, UserIdOrText, decimal
from segsvc.http.requests import failures


class EvaluationFailure(Exception):  # noqa: N818 (the protocol's word)
    """An evaluation fails, with an error code of the protocol and what to do."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class TargetingKey(UserIdOrText):
    """A user id in decimal digits, as the protocol's clients send it, or as a JSON integer."""

    json_schema: ClassVar = {"type": ["string", "integer"], "examples": ["1000"]}

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int | None:
        """Return the user id; None for an empty key, which clients send for a missing one."""
        user_id: int | None = None if value == "" else super().deserialize(value, *args, **kwargs)
        return user_id


class ContextSchema(Schema):
    """The user to evaluate for. Clients send other attributes too, which are ignored."""

    user_id = TargetingKey(data_key="targetingKey", load_default=None)


class EvaluationSchema(Schema):
    """`{context: {targetingKey}}`."""

    context = fields.Nested(ContextSchema, unknown=EXCLUDE, load_default={"user_id": None})


def _one_of(*words: str) -> fields.String:
    return fields.String(required=True, validate=validate.OneOf(words))


class NoMetadataSchema(Schema):
    """An empty object: clients expect one."""


class NoMetadata(fields.Nested):
    """An empty object, dumped without a look at the schema: an answer may have 10,000 flags."""

    def __init__(self) -> None:
        super().__init__(NoMetadataSchema, required=True)

    def _serialize(self, *_: Any, **__: Any) -> dict[str, str]:
        return {}


class FlagSchema(Schema):
    """A segment as a flag: whether the user is in, and by what."""

    key = Slug(required=True)
    value = fields.Boolean(required=True, metadata={"examples": [True]})
    reason = _one_of("TARGETING_MATCH", "SPLIT", "STATIC")
    variant = _one_of("on", "off")
    metadata = NoMetadata()


class FlagsSchema(Schema):
    """All live segments as flags, in the order of their slugs."""

    flags = fields.List(fields.Nested(FlagSchema), required=True)
    metadata = NoMetadata()


class FlagsFailureSchema(Schema):
    """The evaluation of all flags fails."""

    code = fields.String(
        data_key="errorCode",
        required=True,
        validate=validate.OneOf(
            ("PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND")
        ),
    )
    details = fields.String(
        data_key="errorDetails",
        required=True,
        metadata={"examples": ["send the user id as the targetingKey"]},
    )
    metadata = NoMetadata()


class FlagFailureSchema(FlagsFailureSchema):
    """The evaluation of one flag fails."""

    class Meta:
        """The key comes first, as in a flag."""

        fields = ("key", "code", "details", "metadata")

    key = fields.String(required=True, metadata={"examples": ["VOICE_MESSAGES"]})


EVALUATION = EvaluationSchema(unknown=EXCLUDE)
FLAG = FlagSchema()
FLAGS = FlagsSchema()
FLAG_FAILURE = FlagFailureSchema()
FLAGS_FAILURE = FlagsFailureSchema()


def user_id_of(data: Any) -> int:
    """Return the user id in the JSON `data`.

    Raises:
        EvaluationFailure: it is not an evaluation request, or has no valid targeting key.
    """
    match data:  # most bodies need no schema, which takes seven times as long
        case {"context": {"targetingKey": str(key)}}:
            number = decimal(key)
            if number is not None and number <= MAX_USER_ID:
                return number
    try:
        user_id: int | None = EVALUATION.load(data)["context"]["user_id"]
    except ValidationError as error:
        for path, detail in failures(error.messages):
            if path == ("context", "targetingKey"):
                details = f"the targetingKey, a user id, {detail}"
                raise EvaluationFailure("INVALID_CONTEXT", details) from None
        usage = 'send an object: {"context": {"targetingKey": USER_ID}}'
        raise EvaluationFailure("PARSE_ERROR", usage) from None
    if user_id is None:
        raise EvaluationFailure("TARGETING_KEY_MISSING", "send the user id as the targetingKey")
    return user_id
