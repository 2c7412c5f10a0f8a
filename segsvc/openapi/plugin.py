"""How marshmallow's schemas become JSON Schema, and the schema of problems."""

from collections.abc import Callable
from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields

from segsvc.http.fields import JSON_SCHEMAS


def answered(value: Callable[..., Any], *, null: bool = False) -> fields.Function:
    """Return a field of an answer: a value that `segsvc.values` describes, or maybe null."""
    return fields.Function(deserialize=value, required=True, allow_none=null)


class Fault(Schema):
    """A place at fault."""

    pointer = fields.String(
        required=True,
        metadata={"description": "A JSON pointer (RFC 6901), or a line of a file (RFC 7111)."},
    )
    detail = fields.String(required=True)


class Problem(Schema):
    """A problem document (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    errors = fields.List(fields.Nested(Fault))


class _Converter(OpenAPIConverter):
    """Takes what a value is from beside the function that reads it."""

    def field2type_and_format(self, field: fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
        if isinstance(field, fields.Function) and field.deserialize_func:
            schema = JSON_SCHEMAS[field.deserialize_func]
            if "oneOf" in schema:
                choices = [
                    choice if isinstance(choice, dict) else self.resolve_nested_schema(choice)
                    for choice in schema["oneOf"]
                ]
                return schema | {"oneOf": choices}
            return dict(schema)
        converted: dict[str, Any] = super().field2type_and_format(field, **kwargs)
        return converted

    def field2default(self, field: fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
        del kwargs  # Only what a client could send itself; other defaults stand for an absence.
        default = field.load_default
        return {"default": default} if isinstance(default, int | str) and default else {}

    def field2write_only(self, field: fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
        del field, kwargs  # A field without a way out is in a request, or in an answer that is JSON
        return {}

    def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
        converted: dict[str, Any] = super().schema2jsonschema(schema)
        return {"description": type(schema).__doc__} | converted


class Schemas(MarshmallowPlugin):
    """The plugin of apispec with our conversion."""

    Converter = _Converter
