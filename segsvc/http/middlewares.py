"""The one place where errors become answers."""

import json
import logging
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from segsvc.auth.keys import CALLER, KEY_CACHE
from segsvc.auth.store import EDITOR
from segsvc.db.dedicated import NoFreeSlot
from segsvc.db.pool import PoolExhausted, Unavailable
from segsvc.http import problems
from segsvc.http.responses import EVERY_ANSWER
from segsvc.observability import request_ids

# What needs no key, and what the key of a reader is enough for; the rest is for editors.
OPEN = web.AppKey("open", frozenset[Any])
READING = web.AppKey("reading", frozenset[Any])

log = logging.getLogger(__name__)


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer whatever goes wrong in `handler` as a problem document, and each answer with an id."""
    request_id = request_ids.begin(request)
    response = await _answer(request, handler)
    if not response.prepared:  # segsvc.streams gives it to those that are
        headers = response.headers
        headers[request_ids.REQUEST_ID] = request_id
        headers.update(EVERY_ANSWER)
        headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except problems.Problem as error:
        problem = error
    except web.HTTPException as error:
        problem = _problem_of(request, error)
    except NoFreeSlot:
        problem = problems.Busy("as many of these as allowed are under way: try again in a moment")
    except PoolExhausted:
        problem = problems.Busy("too many requests wait for the database: try again in a moment")
    except Unavailable:  # segsvc.outages logs it, not once for each request
        problem = problems.DatabaseUnavailable()
    except Exception:
        log.exception("%s %s failed", request.method, request.rel_url.raw_path)
        problem = problems.InternalError()
    return web.Response(
        status=problem.status,
        # Escaped to ASCII: what a client sent may be repeated here, lone surrogates included.
        body=json.dumps(problem.document()).encode() + b"\n",
        content_type="application/problem+json",
        headers=problem.headers,
    )


@web.middleware
async def authorize(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request through whose key has the role that its route needs."""
    match = request.match_info
    if match.http_exception is None and match.handler not in request.app[OPEN]:
        caller = await request.app[KEY_CACHE].caller(request.headers.get("Authorization"))
        if caller.role != EDITOR and match.handler not in request.app[READING]:
            raise problems.EditorRequired(str(caller.name))
        request[CALLER] = caller
    return await handler(request)


def _problem_of(request: web.Request, error: web.HTTPException) -> problems.Problem:
    """Return the problem that stands for an error of aiohttp's own; raise on what is none."""
    if isinstance(error, web.HTTPNotFound):
        return problems.NotFound(f"no route has the path {request.path}")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return problems.MethodNotAllowed(f"use {allowed}", headers={"Allow": allowed})
    raise error
