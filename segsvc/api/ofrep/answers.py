"""What is answered to evaluations."""

from marshmallow import Schema, fields, validate

from segsvc.http import fields as values
from segsvc.openapi.plugin import answered

_CODES = ("PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND")


def _word(*words: str) -> fields.String:
    return fields.String(required=True, validate=validate.OneOf(words))


class NoMetadata(Schema):
    """Nothing, which the protocol's clients want to see as an object."""


class Flag(Schema):
    """A segment as a flag: whether the user is in, and by what."""

    key = answered(values.slug)
    value = fields.Boolean(required=True, metadata={"examples": [True]})
    reason = _word("TARGETING_MATCH", "SPLIT", "STATIC")
    variant = _word("on", "off")
    metadata = fields.Nested(NoMetadata, required=True)


class Flags(Schema):
    """All live segments as flags, in the order of their slugs."""

    flags = fields.List(fields.Nested(Flag), required=True)
    metadata = fields.Nested(NoMetadata, required=True)


class FlagsFailure(Schema):
    """The evaluation fails, in the words of the protocol."""

    errorCode = _word(*_CODES)  # noqa: N815 (the protocol's name)
    errorDetails = fields.String(  # noqa: N815
        required=True, metadata={"examples": ["send the user id as the targetingKey"]}
    )
    metadata = fields.Nested(NoMetadata, required=True)


class FlagFailure(FlagsFailure):
    """The evaluation of one flag fails, in the words of the protocol."""

    key = fields.String(required=True, metadata={"examples": ["VOICE_MESSAGES"]})


FLAG = Flag()
FLAGS = Flags()
FLAG_FAILURE = FlagFailure()
FLAGS_FAILURE = FlagsFailure()
