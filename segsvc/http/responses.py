"""What the service answers: JSON, with times as RFC 3339 has them."""

import json
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

# What every answer says: no guessing at its type, and nothing of what it was made with.
EVERY_ANSWER = {"X-Content-Type-Options": "nosniff", "Server": "segsvc"}

_ENCODER = json.JSONEncoder(ensure_ascii=False)


def rfc3339(moment: datetime) -> str:
    """Return `moment` in UTC, with microseconds and a `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def json_response(
    data: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Return `data` as an answer in JSON, a line of its own."""
    body = _ENCODER.encode(data).encode() + b"\n"
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
