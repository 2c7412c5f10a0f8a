"""Access log and request duration."""

import logging
import re
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
        """Record one request, which took `time` seconds."""
        route = _template(request)
        method = UNMATCHED if route == UNMATCHED else request.method
        metrics.request_duration(method, route, response.status).observe(time)
        if self.logger.isEnabledFor(logging.INFO):
            logs.request_line(
                method=request.method,
                route=route,
                path=without_signature(request.rel_url.raw_path),
                status=response.status,
                seconds=time,
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


def _template(request: web.BaseRequest) -> str:
    """Return the path of the route, with parameter names instead of values."""
    # Malformed HTTP is answered before it gets an id and a route.
    if request_ids.CURRENT.get() and isinstance(request, web.Request):
        resource = request.match_info.route.resource
        return resource.canonical if resource else UNMATCHED
    return UNMATCHED
