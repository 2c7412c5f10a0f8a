"""Access log and request duration."""

import logging
import re
from time import perf_counter
from typing import cast
from urllib.parse import unquote

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from segsvc.observability import logs, metrics, request_ids

# The label of requests without a route. Their methods are not labels: clients invent them.
UNMATCHED = "unmatched"

log = logging.getLogger(__name__)


class AccessLog(AbstractAccessLogger):
    """Called by aiohttp after the last byte of each response, streams and errors included."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Record one request; aiohttp's `time` has whole milliseconds with uvloop's clock."""
        ids = request_ids.CURRENT.get()
        # Malformed HTTP is answered before it gets an id and a route.
        resource = cast("web.Request", request).match_info.route.resource if ids else None
        route, method = UNMATCHED, UNMATCHED
        if resource:
            route, method = resource.canonical, request.method
        seconds = perf_counter() - ids.began_at if ids else time
        metrics.REQUEST_DURATION.observe(seconds, (method, route, response.status))
        if self.logger.isEnabledFor(logging.INFO):
            logs.request_line(
                method=request.method,
                route=route,
                path=without_signature(request.rel_url.raw_path),
                status=response.status,
                seconds=seconds,
                size=response.body_length,
                remote=request.remote or "",
            )


def without_signature(path: str) -> str:
    """Return `path` up to where a link's signature may be.

    It belongs to the query, but a program may have escaped the `?` of a link, and made it a path.
    """
    if "signature" in path or ("%" in path and "signature" in unquote(unquote(path)).lower()):
        return re.split("%|signature", path, maxsplit=1)[0] + "..."
    return path
