"""JSON responses, and the headers that every response has."""

import json
from typing import Any

from aiohttp import web
from marshmallow import Schema

# No guessing of content types, and no version of the server software.
COMMON_HEADERS = {"X-Content-Type-Options": "nosniff", "Server": "segsvc"}

_ENCODER = json.JSONEncoder(ensure_ascii=False)


def json_response(
    schema: Schema, value: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Return `value`, dumped by `schema`, as JSON on one line."""
    body = _ENCODER.encode(schema.dump(value)).encode() + b"\n"
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
