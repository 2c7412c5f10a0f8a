"""Request ids and trace ids, which connect log lines with requests."""

import re
from contextvars import ContextVar
from random import getrandbits
from time import perf_counter
from typing import NamedTuple

from aiohttp import web
from multidict import istr

# Found faster in headers than a text, whose case has to be folded.
REQUEST_ID = istr("X-Request-ID")
TRACEPARENT = istr("traceparent")

# An id is written to logs and to a header, so only harmless characters are accepted.
_SANE = re.compile(r"[A-Za-z0-9._~:/+=-]{1,128}")

# https://www.w3.org/TR/trace-context/: later versions may append to what this one has.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)


class RequestIds(NamedTuple):
    """The ids of a request, and when it began, by `time.perf_counter`."""

    request_id: str
    trace_id: str | None
    began_at: float


# aiohttp runs each request in its own task, so the value is that of the request.
CURRENT: ContextVar[RequestIds | None] = ContextVar("request_ids", default=None)


def new() -> str:
    """Return a request id that nothing else has."""
    return f"{getrandbits(64):016x}"


def assign(request: web.Request) -> str:
    """Take the ids of `request` from its headers, or generate one; return the request id.

    The middleware and the CSV stream add it to the response: the signal `on_response_prepare`
    would take as long as everything else here.
    """
    request_id = request.headers.get(REQUEST_ID)
    if request_id is None or not _SANE.fullmatch(request_id):
        request_id = new()
    traceparent = request.headers.get(TRACEPARENT)
    trace = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    CURRENT.set(RequestIds(request_id, trace[1] if trace else None, perf_counter()))
    return request_id
