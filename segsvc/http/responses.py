"""JSON responses, problem documents, and the headers that every response has."""

import json
from typing import Any

from aiohttp import hdrs, web
from marshmallow import Schema
from multidict import istr

from segsvc.http.problems import Problem
from segsvc.http.threads import in_thread
from segsvc.observability.request_ids import REQUEST_ID

# No guessing of content types, and no version of the server software.
COMMON_HEADERS: dict[str, str] = {
    istr("X-Content-Type-Options"): "nosniff",
    istr("Server"): "segsvc",
}

# Items that are dumped in some milliseconds.
LONG_LIST = 100

_ENCODER = json.JSONEncoder(ensure_ascii=False)


def json_response(
    schema: Schema, value: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Return `value`, dumped by `schema`, as JSON on one line."""
    body = _ENCODER.encode(schema.dump(value)).encode() + b"\n"
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


async def list_response(
    schema: Schema, value: Any, length: int, headers: dict[str, str] | None = None
) -> web.Response:
    """Return what `json_response` does, for a `value` with lists of so many items together."""
    if length > LONG_LIST:
        return await in_thread(json_response, schema, value, headers=headers)
    return json_response(schema, value, headers=headers)


def problem_response(problem: Problem) -> web.Response:
    """Return `problem` as a problem document."""
    return web.Response(
        status=problem.status,
        # Escaped to ASCII: it may repeat what a client sent, lone surrogates included.
        body=json.dumps(problem.document()).encode() + b"\n",
        content_type="application/problem+json",
        headers=problem.headers,
    )


def add_common_headers(response: web.StreamResponse, request_id: str) -> None:
    """Add the headers that every response has."""
    headers = response.headers
    headers[REQUEST_ID] = request_id
    headers.extend(COMMON_HEADERS)
    headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
