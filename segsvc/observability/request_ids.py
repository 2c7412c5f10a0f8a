"""What ties log lines to a request: its id, and the id of the trace that it is part of."""

import re
from contextvars import ContextVar
from random import getrandbits
from typing import NamedTuple

from aiohttp import web

REQUEST_ID = "X-Request-ID"

# An id is repeated in logs and in a header, so it is taken only if it is harmless there.
_SANE = re.compile(r"[A-Za-z0-9._~:/+=-]{1,128}")

# https://www.w3.org/TR/trace-context/: later versions may append to what this one has.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)


class Correlation(NamedTuple):
    """The ids of a request."""

    request_id: str
    trace_id: str | None


# Each request is a task of its own, so this holds until its answer is out.
CURRENT: ContextVar[Correlation | None] = ContextVar("correlation", default=None)


def begin(request: web.Request) -> str:
    """Take the ids of `request` from its headers; return the one that its answer bears.

    The answer is given it by the middleware, or by whoever sends its head before that: a signal
    for each answer (`on_response_prepare`) would take as long as all the rest of this together.
    """
    request_id = request.headers.get(REQUEST_ID)
    if request_id is None or not _SANE.fullmatch(request_id):
        request_id = f"{getrandbits(64):016x}"
    traceparent = request.headers.get("traceparent")
    trace = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    CURRENT.set(Correlation(request_id, trace[1] if trace else None))
    return request_id
