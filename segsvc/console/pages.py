"""What all pages share: who looks, in which language, headers, errors, and the route table."""

from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import aiohttp_jinja2
import jinja2
from aiohttp import web

from segsvc import __version__
from segsvc.auth.keys import CALLER, SESSION, Caller
from segsvc.auth.roles import Role
from segsvc.console import filters
from segsvc.console.sessions import caller_of, is_same_origin
from segsvc.console.texts import LANGUAGES, Texts, choose
from segsvc.db.values import rfc3339
from segsvc.http.middlewares import problem_of
from segsvc.http.problems import Problem

HERE = Path(__file__).parent
LANGUAGE = "segsvc-language"

# The cookie that says what was done.
DONE = "segsvc-done"

# What a path and a query are made of (RFC 3986); all else is escaped in a redirect.
PATH = "/?&=%-._~!$'()*+,;:@"

# The first page that is shown.
START = "/console/segments"

# Nothing from other hosts, no script and no style in the pages themselves, no framing.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Cookie, Accept-Language",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Method, path and handler of each page.
PAGES: list[tuple[str, str, Handler]] = []


def page(
    *paths: str, role: Role | None = Role.READER, method: str = "GET"
) -> Callable[[Handler], Handler]:
    """Declare a page above its handler; `role` is what the key of the session needs."""

    def declare(handler: Handler) -> Handler:
        @wraps(handler)
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                response = await _answer(request, handler, role)
            except web.HTTPException:
                raise
            except Exception as error:  # noqa: BLE001 (every one is answered)
                response = _failed(request, problem_of(request, error))
            for name, value in HEADERS.items():  # a file has its own
                response.headers.setdefault(name, value)
            return response

        PAGES.extend((method, path, answer) for path in paths)
        return answer

    return declare


async def _answer(request: web.Request, handler: Handler, role: Role | None) -> web.StreamResponse:
    if request.method not in {"GET", "HEAD"} and not is_same_origin(request):
        return render(request, "error.html", {"name": "error.origin"}, status=403)
    caller = await caller_of(request)
    if role is None:
        if caller:
            request[CALLER] = caller
        return await handler(request)
    if caller is None:
        here = quote(request.rel_url.raw_path_qs) if request.method == "GET" else ""
        return redirect(f"/console/sign-in?next={here}")
    request[CALLER] = caller
    if caller.name:
        request[SESSION] = caller.name
    if not caller.role.does(role):
        return render(request, "error.html", {"name": "error.role"}, status=403)
    return await handler(request)


def _failed(request: web.Request, problem: Problem) -> web.StreamResponse:
    """Return the page that says a problem."""
    context = {"name": f"error.{problem.status}", "problem": problem}
    if problem.status == web.HTTPUnauthorized.status_code:
        return redirect("/console/sign-in")
    response = render(request, "error.html", context, status=problem.status)
    response.headers.update(problem.headers)
    return response


def texts_of(request: web.Request) -> Texts:
    """Return the texts in the language of the reader."""
    accepted = request.headers.get("Accept-Language", "")
    return Texts(choose(request.cookies.get(LANGUAGE), accepted))


def render(
    request: web.Request, template: str, context: dict[str, Any], status: int = 200
) -> web.Response:
    """Return a page."""
    texts = texts_of(request)
    caller: Caller | None = request.get(CALLER)
    shared = {
        "t": texts,
        "caller": caller,
        "open": caller is not None and caller.name is None,
        "follows": caller is not None and caller.role.does(Role.FOLLOWER),
        "edits": caller is not None and caller.role.does(Role.EDITOR),
        "done": _done(request, texts),
        "problem": None,
        "counted": None,
        "path": request.rel_url.raw_path_qs,
        "languages": LANGUAGES,
        "version": __version__,
    }
    response = aiohttp_jinja2.render_template(template, request, shared | context, status=status)
    if DONE in request.cookies:
        response.del_cookie(DONE, path="/console")
    return response


def done(path: str, name: str, /, **values: str | int) -> web.Response:
    """Lead to a page, which says once what was done: the text `done.{name}` with its values."""
    response = redirect(path)
    said = urlencode({"done": name, **values})
    response.set_cookie(DONE, said, max_age=60, path="/console", httponly=True, samesite="Strict")
    return response


def _done(request: web.Request, texts: Texts) -> str | None:
    """Return what was done before this page, None if nothing was."""
    values: dict[str, Any] = dict(parse_qsl(request.cookies.get(DONE, "")))
    name = values.pop("done", "")
    try:
        if "count" in values:
            values["count"] = int(values["count"])
        return texts(f"done.{name}", **values)
    except (KeyError, ValueError, IndexError):  # it is not ours
        return None


def redirect(path: str) -> web.Response:
    """Lead to a page of the console (RFC 9110, section 15.4.4)."""
    return web.Response(status=303, headers={"Location": quote(path, safe=PATH)})


def set_up(app: web.Application) -> None:
    """Make the templates known to the application."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": filters.moment,
        "day": filters.day,
        "percent": filters.percent,
        "iso": rfc3339,
        "field": filters.field,
        "plain": filters.plain,
        "place": filters.place,
    }
