"""Middlewares: every error becomes a problem document, and every route has its role."""

import json
import logging

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from segsvc.auth.keys import identify
from segsvc.db.conditions import SegmentsNotLive
from segsvc.db.dedicated import NoFreeSlot
from segsvc.db.pool import PoolExhausted, ReadOnly, Refused, Unavailable
from segsvc.http import problems
from segsvc.http.responses import COMMON_HEADERS
from segsvc.http.routes import ROUTES
from segsvc.observability import request_ids

log = logging.getLogger(__name__)


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors of `handler` as problem documents, and give each response its headers."""
    request_id = request_ids.assign(request)
    response = await _answer(request, handler)
    if not response.prepared:  # a stream has sent its headers already
        headers = response.headers
        headers[request_ids.REQUEST_ID] = request_id
        headers.update(COMMON_HEADERS)
        headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except problems.Problem as error:
        problem = error
    except web.HTTPException as error:
        problem = _problem_of(request, error)
    except SegmentsNotLive as error:  # the segment in the path; handlers say it of a body
        problem = problems.SegmentNotFound(*error.slugs)
    except NoFreeSlot:
        problem = problems.Busy("as many of these as allowed are under way: try again in a moment")
    except PoolExhausted:
        problem = problems.Busy("too many requests wait for the database: try again in a moment")
    except ReadOnly as error:
        problem = problems.ReadOnly(str(error))
    except Refused as error:
        problem = problems.WrongSetup(str(error))
    except Unavailable:  # db/outages.py logs it, at most once in ten seconds
        problem = problems.DatabaseUnavailable()
    except Exception:
        log.exception("%s %s failed", request.method, request.rel_url.raw_path)
        problem = problems.InternalError()
    return web.Response(
        status=problem.status,
        # Escaped to ASCII: it may repeat what a client sent, lone surrogates included.
        body=json.dumps(problem.document()).encode() + b"\n",
        content_type="application/problem+json",
        headers=problem.headers,
    )


@web.middleware
async def authorize(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request through if its key has the role that the route needs."""
    match = request.match_info
    if match.http_exception is None:
        role = request.app[ROUTES][match.handler].role
        if role is not None:
            await identify(request, role)
    return await handler(request)


def _problem_of(request: web.Request, error: web.HTTPException) -> problems.Problem:
    """Return the problem for an error of aiohttp's router; raise any other."""
    if isinstance(error, web.HTTPNotFound):
        return problems.NotFound(f"no route has the path {request.path}")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return problems.MethodNotAllowed(f"use {allowed}", headers={"Allow": allowed})
    raise error
