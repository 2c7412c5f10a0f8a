"""The middleware: every error becomes a problem document, and every route has its role."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler, Middleware

from segsvc.auth.keys import identify
from segsvc.auth.roles import Role
from segsvc.db.conditions import (
    LayerNotLive,
    NotEnoughFree,
    PlanChanged,
    PlanPending,
    SegmentsNotLive,
)
from segsvc.db.dedicated import NoFreeSlot
from segsvc.db.pool import PoolExhausted, ReadOnly, Refused, Unavailable
from segsvc.db.quotas import QuotaUsedUp
from segsvc.http import problems
from segsvc.http.responses import add_common_headers, problem_response
from segsvc.observability import request_ids
from segsvc.observability.access_log import without_signature

log = logging.getLogger(__name__)

# What stores and connections raise, and every route answers alike; the first that fits counts.
PROBLEMS: dict[type[Exception], Callable[[Any], problems.Problem]] = {
    # The segment in the path; handlers say it of a body.
    SegmentsNotLive: lambda error: problems.SegmentNotFound(*error.slugs),
    LayerNotLive: lambda error: problems.LayerNotFound(*error.args),
    NotEnoughFree: lambda error: problems.NotEnoughFree(error.slug, error.percent, error.at),
    PlanPending: lambda _: problems.PlanPending(),
    PlanChanged: lambda _: problems.PlanChanged(),
    QuotaUsedUp: lambda error: problems.TooManyNewUsers(error.rate),
    NoFreeSlot: lambda _: problems.Busy(
        "as many of these as allowed are under way: try again in a moment"
    ),
    PoolExhausted: lambda _: problems.Busy(
        "too many requests wait for the database: try again in a moment"
    ),
    ReadOnly: lambda error: problems.ReadOnly(str(error)),
    Refused: lambda error: problems.WrongSetup(str(error)),
    # db/outages.py logs it, at most once in ten seconds.
    Unavailable: lambda _: problems.DatabaseUnavailable(),
}


def answering(roles: Mapping[Any, Role | None], most_per_key: int) -> Middleware:
    """Return the middleware: `roles` of the handlers, and the requests that a key may have at once.

    It is one, and looks up little, because each look and each call takes time of every request.
    """
    under_way: Counter[str] = Counter()

    async def allowed(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request whose key has the role that the route needs, and a place."""
        if request.version < HttpVersion11 and hdrs.TRANSFER_ENCODING in request.headers:
            # Not known there: a proxy may see other requests in it (RFC 9112, section 6.1).
            raise problems.MalformedRequest
        match = request.match_info
        role = None if match.http_exception else roles[match.handler]
        key = await identify(request, role) if role is not None else None
        if key is None:
            return await handler(request)
        if under_way[key] >= most_per_key:  # it keeps no other key out
            raise problems.TooManyRequests(most_per_key)
        under_way[key] += 1
        try:
            return await handler(request)
        finally:
            under_way[key] -= 1

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = request_ids.assign(request)
        try:
            response = await allowed(request, handler)
        except Exception as error:  # noqa: BLE001 (every one is answered)
            response = _problem_response(request, error)
        if not response.prepared:  # a stream has sent its headers already
            add_common_headers(response, request_id)
        return response

    return answer


def problem_of(request: web.Request, error: Exception) -> problems.Problem:
    """Return the problem that an error is answered with; a defect is logged.

    Raises:
        HTTPException: it is an answer of aiohttp other than 404 and 405.
    """
    if isinstance(error, web.HTTPException):
        error = _router_problem(request, error)
    for kind, make in PROBLEMS.items():
        if isinstance(error, kind):
            error = make(error)
            break
    if not isinstance(error, problems.Problem):
        path = without_signature(request.rel_url.raw_path)
        log.error("%s %s failed", request.method, path, exc_info=error)
        error = problems.InternalError()
    return error


def _problem_response(request: web.Request, error: Exception) -> web.StreamResponse:
    problem = problem_of(request, error)
    response = problem_response(problem)
    if isinstance(problem, problems.MalformedRequest):
        response.force_close()
    return response


def _router_problem(request: web.Request, error: web.HTTPException) -> problems.Problem:
    """Return the problem for an error of aiohttp's router; raise any other."""
    if isinstance(error, web.HTTPNotFound):
        return problems.NotFound(f"no route has the path {request.path}")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return problems.MethodNotAllowed(f"use {allowed}", headers={"Allow": allowed})
    raise error
