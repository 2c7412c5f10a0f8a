"""The description in OpenAPI 3.1, made of the routes and what is declared at their handlers."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Any

from aiohttp import web
from apispec import APISpec
from marshmallow import Schema

from segsvc import __version__
from segsvc.api.reports.schemas import month
from segsvc.auth import store
from segsvc.http import fields as values
from segsvc.http import problems
from segsvc.http.middlewares import OPEN, READING
from segsvc.http.routes import OPERATIONS, Operation, Text
from segsvc.openapi.examples import EXAMPLES
from segsvc.openapi.plugin import Problem, Schemas

# The parts of paths, by their names in the routes.
PARTS = {"slug": values.slug, "user_id": values.decimal_user_id, "period": month}

ABOUT = """Tells a product which segments a user is in.

Times are RFC 3339 in UTC, lists of slugs are sorted bytewise. Repeating a request changes nothing.
Every answer bears an `X-Request-ID`: the one that was sent, or one of its own."""

KEY = "A key of the role that the operation names: a reader's reads users, an editor's does all."

_OF_A_BODY = (
    problems.BrokenBody,
    problems.TooSlow,
    problems.TooLarge,
    problems.UnsupportedMediaType,
)
_OF_A_CALL = (problems.InvalidRequest, problems.InternalError, problems.DatabaseUnavailable)

_DOCSTRING = re.compile(r"`(?P<call>[A-Z]+ [^`]+)`: (?P<text>.+)", re.DOTALL)


class Description:
    """The description of an application, made when it is first asked for."""

    def __init__(self, app: web.Application) -> None:
        self._app = app

    @cached_property
    def body(self) -> bytes:
        """The document as JSON."""
        return json.dumps(self.document, ensure_ascii=False).encode()

    @cached_property
    def etag(self) -> str:
        """What changes with the document."""
        return hashlib.sha256(self.body).hexdigest()[:16]

    @cached_property
    def document(self) -> dict[str, Any]:
        """The document."""
        spec = APISpec(
            "segsvc", __version__, "3.1.0", plugins=[Schemas()], info={"description": ABOUT}
        )
        scheme = {"type": "http", "scheme": "bearer", "description": KEY}
        spec.components.security_scheme("key", scheme)
        spec.components.schema("Problem", schema=Problem)
        for route in self._app.router.routes():
            if route.method != "HEAD" and route.resource:
                path = route.resource.canonical
                described = _operation(route.handler, path, self._role(route.handler))
                spec.path(path, operations={route.method.lower(): described})
        document: dict[str, Any] = spec.to_dict()
        _add_examples(document)
        return document

    def _role(self, handler: Callable[..., Any]) -> str | None:
        """Return whose key a handler asks for, None if it asks for none."""
        if handler in self._app[OPEN]:
            return None
        return store.READER if handler in self._app[READING] else store.EDITOR


def said(handler: Callable[..., Any]) -> tuple[str, str]:
    """Return the call and the words on it that the docstring of a handler has."""
    found = _DOCSTRING.fullmatch(" ".join((handler.__doc__ or "").split()))
    assert found, f"{handler.__name__} does not say what it answers"
    return found["call"], found["text"]


def _operation(handler: Callable[..., Any], path: str, role: str | None) -> dict[str, Any]:
    declared = OPERATIONS[handler]
    _, text = said(handler)
    described: dict[str, Any] = {
        "operationId": handler.__name__,
        "summary": text[0].upper() + text[1:].rstrip("."),
        "tags": [handler.__module__.split(".")[1]],
        "parameters": list(_parameters(path, declared)),
        "responses": _responses(declared, role),
        # A service that has no keys yet is open to those on its own machine.
        "security": [{"key": [role]}, {}] if role else [],
    }
    if declared.body:
        example = {} if isinstance(declared.body, Text) else {"example": declared.example}
        content = dict([_content(declared.body)])
        for media in content.values():
            media.update(example)
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(path: str, declared: Operation) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        schema = values.JSON_SCHEMAS[PARTS[name]] if name in PARTS else {"type": "string"}
        yield {"in": "path", "name": name, "required": True, "schema": schema}
    if declared.query:
        yield {"in": "query", "schema": declared.query}


def _responses(declared: Operation, role: str | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "Done"}
    if declared.answers:
        answer["content"] = dict(map(_content, declared.answers))
    if declared.status == web.HTTPCreated.status_code:
        answer["headers"] = {"Location": {"schema": {"type": "string", "format": "uri-reference"}}}
    responses = {str(declared.status): answer}
    by_status = attrgetter("status")
    for status, kinds in groupby(sorted(_problems(declared, role), key=by_status), by_status):
        responses[str(status)] = _problem_response([EXAMPLES[kind] for kind in kinds])
    for code, failure in declared.failures.items():
        response = responses.setdefault(str(code), {"description": "Refused", "content": {}})
        response["content"] |= dict([_content(failure)])
    return responses


def _problems(declared: Operation, role: str | None) -> set[type[problems.Problem]]:
    found = set(declared.problems)
    if role:
        found.add(problems.KeyRequired)
    if role == store.EDITOR:
        found.add(problems.EditorRequired)
    if declared.body:
        found.update(_OF_A_BODY)
    if isinstance(declared.body, Schema) and not declared.failures:
        found.add(problems.NotJson)
    if declared.query:
        found.update(_OF_A_CALL)
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
    """Give each answer in JSON an example, put together from those of its values."""
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


DESCRIPTION = web.AppKey("description", Description)
