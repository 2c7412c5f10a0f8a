"""Middlewares: every error becomes a problem document, and every route has its role."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler

from segsvc.auth.keys import identify
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
from segsvc.http.app_keys import LIMITS
from segsvc.http.responses import add_common_headers, problem_response
from segsvc.http.routes import ROUTES
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

# How many requests each API key has under way.
UNDER_WAY = web.AppKey("under_way", Counter[str])


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors of `handler` as problem documents, and give each response its headers."""
    request_id = request_ids.assign(request)
    if request.version < HttpVersion11 and hdrs.TRANSFER_ENCODING in request.headers:
        # Not known there: a proxy may see other requests in it (RFC 9112, section 6.1).
        response: web.StreamResponse = problem_response(problems.MalformedRequest())
        response.force_close()
    else:
        response = await _answer(request, handler)
    if not response.prepared:  # a stream has sent its headers already
        add_common_headers(response, request_id)
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except problems.Problem as error:
        problem = error
    except web.HTTPException as error:
        problem = _problem_of(request, error)
    except tuple(PROBLEMS) as error:
        problem = next(make(error) for kind, make in PROBLEMS.items() if isinstance(error, kind))
    except Exception:
        log.exception("%s %s failed", request.method, without_signature(request.rel_url.raw_path))
        problem = problems.InternalError()
    return problem_response(problem)


@web.middleware
async def authorize(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request through if its key has the role that the route needs."""
    match = request.match_info
    if match.http_exception is None:
        role = request.app[ROUTES][match.handler].role
        if role is not None:
            key = await identify(request, role)
            if key is not None:
                return await _within_limit(request, handler, key)
    return await handler(request)


async def _within_limit(request: web.Request, handler: Handler, key: str) -> web.StreamResponse:
    """Answer a request of a key that has not too many under way: it keeps no other key out."""
    under_way = request.app[UNDER_WAY]
    most = request.app[LIMITS].most_per_key
    if under_way[key] >= most:
        raise problems.TooManyRequests(most)
    under_way[key] += 1
    try:
        return await handler(request)
    finally:
        under_way[key] -= 1


def _problem_of(request: web.Request, error: web.HTTPException) -> problems.Problem:
    """Return the problem for an error of aiohttp's router; raise any other."""
    if isinstance(error, web.HTTPNotFound):
        return problems.NotFound(f"no route has the path {request.path}")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return problems.MethodNotAllowed(f"use {allowed}", headers={"Allow": allowed})
    raise error
