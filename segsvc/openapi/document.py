"""The OpenAPI 3.1 document, generated from the declarations of the routes."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Any

from aiohttp import web
from apispec import APISpec
from marshmallow import Schema

from segsvc import __version__
from segsvc.auth.roles import Role
from segsvc.http import problems
from segsvc.http.routes import Route, Routes, Text
from segsvc.openapi.examples import EXAMPLES
from segsvc.openapi.plugin import ProblemSchema, SchemaPlugin

ABOUT = """Tells a product which segments a user is in.

Times are RFC 3339 in UTC, lists of slugs are sorted bytewise. Repeating a request changes nothing.
Every response has an `X-Request-ID`: that of the request, or a new one.

User ids go up to 2^63 - 1. A client that reads JSON numbers as doubles, as JavaScript does, sends
ids above 2^53 - 1 as strings of decimal digits, and takes none from a parsed answer."""

KEY = (
    "An API key with the role that the operation names: a reader reads users, a follower also lists"
    " members and follows the feed, an editor does all."
)

_OF_A_BODY = (
    problems.BrokenBody,
    problems.TooSlow,
    problems.ReadOnly,
    problems.TooLarge,
    problems.UnsupportedMediaType,
)
_OF_A_QUERY = (
    problems.InvalidRequest,
    problems.InternalError,
    problems.DatabaseUnavailable,
    problems.WrongSetup,
)


def etag_of(body: bytes) -> str:
    """Return the entity tag of a content."""
    return hashlib.sha256(body).hexdigest()[:16]


class Document:
    """The document of the resources `groups`, generated at the first use."""

    def __init__(self, groups: Iterable[Routes]) -> None:
        self._groups = tuple(groups)

    @cached_property
    def body(self) -> bytes:
        """The document as JSON."""
        return json.dumps(self.content, ensure_ascii=False).encode()

    @cached_property
    def etag(self) -> str:
        """A hash of the document."""
        return etag_of(self.body)

    @cached_property
    def content(self) -> dict[str, Any]:
        """The document as an object."""
        resources = {group.name: group.description for group in self._groups}
        spec = APISpec(
            "segsvc",
            __version__,
            "3.1.0",
            plugins=[SchemaPlugin()],
            info={"description": ABOUT},
            tags=[{"name": name, "description": f"{text}."} for name, text in resources.items()],
        )
        scheme = {"type": "http", "scheme": "bearer", "description": KEY}
        spec.components.security_scheme("key", scheme)
        spec.components.schema("Problem", schema=ProblemSchema)
        for group in self._groups:
            for route in group:
                described = _operation(route, group.name)
                spec.path(route.path, operations={route.method.lower(): described})
        content: dict[str, Any] = spec.to_dict()
        _add_examples(content)
        return content


def _operation(route: Route, tag: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [tag],
        "parameters": list(_parameters(route)),
        "responses": _responses(route),
        # A service that has no keys yet is open on its own machine.
        "security": [{"key": [route.role]}, {}] if route.role else [],
    }
    if route.bodies:
        content = dict(map(_content, route.bodies))
        if "application/json" in content:
            content["application/json"]["example"] = route.example
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", route.path):
        field = route.parameters.get(name)
        schema = field.described() if field else {"type": "string"}
        yield {"in": "path", "name": name, "required": True, "schema": schema}
    if route.query:
        yield {"in": "query", "schema": route.query}


def _responses(route: Route) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done"}
    if route.answers:
        success["content"] = dict(map(_content, route.answers))
    if route.status == web.HTTPCreated.status_code:
        success["headers"] = {"Location": {"schema": {"type": "string", "format": "uri-reference"}}}
    responses = {str(route.status): success}
    by_status = attrgetter("status")
    for status, kinds in groupby(sorted(_problems(route), key=by_status), by_status):
        responses[str(status)] = _problem_response([EXAMPLES[kind] for kind in kinds])
    for code, failure in route.failures.items():
        response = responses.setdefault(str(code), {"description": "Refused", "content": {}})
        response["content"] |= dict([_content(failure)])
    return responses


def _problems(route: Route) -> set[type[problems.Problem]]:
    found = set(route.problems)
    if route.role:
        found.update({problems.KeyRequired, problems.TooManyRequests})
    if route.role is Role.READER:
        found.add(problems.TooManyNewUsers)
    if route.role is Role.EDITOR:
        found.add(problems.EditorRequired)
    if route.role is Role.FOLLOWER:
        found.add(problems.FollowerRequired)
    if route.bodies:
        found.update(_OF_A_BODY)
    if any(isinstance(body, Schema) for body in route.bodies) and not route.failures:
        found.add(problems.NotJson)
    if route.query:
        found.update(_OF_A_QUERY)
    return found


def _problem_response(examples: list[problems.Problem]) -> dict[str, Any]:
    documents = {e.slug: e.document() for e in sorted(examples, key=attrgetter("slug"))}
    response: dict[str, Any] = {
        "description": " / ".join(document["title"] for document in documents.values()),
        "content": {
            "application/problem+json": {
                "schema": {
                    "$ref": "#/components/schemas/Problem",
                    "properties": {"type": {"enum": [d["type"] for d in documents.values()]}},
                },
                "examples": {slug: {"value": value} for slug, value in documents.items()},
            }
        },
    }
    if headers := {name for example in examples for name in example.headers}:
        response["headers"] = {n: {"schema": {"type": "string"}} for n in sorted(headers)}
    return response


def _content(body: Schema | Text) -> tuple[str, dict[str, Any]]:
    if isinstance(body, Text):
        return body.media_type, {"schema": {"type": "string"}, "example": body.example}
    return "application/json", {"schema": body}


def _add_examples(document: dict[str, Any]) -> None:
    """Give each JSON answer an example, composed of the examples of its fields."""
    schemas = document["components"]["schemas"]
    for path in document["paths"].values():
        for described in path.values():
            for response in described["responses"].values():
                if media := response.get("content", {}).get("application/json"):
                    media["example"] = _example(media["schema"], schemas)


def _example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "examples" in schema:
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    if "properties" not in schema and schema["type"] == "object":
        return {}
    if schema["type"] == "array":
        return [_example(schema["items"], schemas)]
    return {name: _example(part, schemas) for name, part in schema["properties"].items()}


DOCUMENT = web.AppKey("document", Document)
