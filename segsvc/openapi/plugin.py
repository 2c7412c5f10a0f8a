"""Conversion of our marshmallow fields and schemas to JSON Schema, for apispec."""

from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields

from segsvc.http.fields import DescribedField


class FaultSchema(Schema):
    """A place at fault."""

    pointer = fields.String(
        required=True,
        metadata={"description": "A JSON pointer (RFC 6901), or a line of a file (RFC 7111)."},
    )
    detail = fields.String(required=True)


class ProblemSchema(Schema):
    """A problem document (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    errors = fields.List(fields.Nested(FaultSchema))


class _Converter(OpenAPIConverter):
    """Uses the JSON Schema of a described field."""

    def field2type_and_format(self, field: fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
        if not isinstance(field, DescribedField):
            converted: dict[str, Any] = super().field2type_and_format(field, **kwargs)
            return converted
        schema = field.described()
        if "oneOf" in schema:
            schema["oneOf"] = [
                choice if isinstance(choice, dict) else self.resolve_nested_schema(choice)
                for choice in schema["oneOf"]
            ]
        return schema

    def field2default(self, field: fields.Field[Any], **kwargs: Any) -> dict[str, Any]:
        del kwargs  # only defaults that a client could send; others mean that the field is absent
        default = field.load_default
        return {"default": default} if isinstance(default, int | str) and default else {}

    def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
        converted: dict[str, Any] = super().schema2jsonschema(schema)
        return {"description": type(schema).__doc__} | converted


class SchemaPlugin(MarshmallowPlugin):
    """The plugin of apispec with our conversion."""

    Converter = _Converter
