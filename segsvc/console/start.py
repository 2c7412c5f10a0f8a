"""Signing in and out, the language, and the files of the pages."""

from aiohttp import web

from segsvc.auth.keys import KEY_CACHE
from segsvc.console.forms import read_form
from segsvc.console.pages import HERE, LANGUAGE, START, page, redirect, render
from segsvc.console.sessions import COOKIE, sign_in
from segsvc.console.texts import LANGUAGES
from segsvc.http.problems import NotFound
from segsvc.openapi.handlers import serve_file

STATIC = {name: HERE / "static" / name for name in ("console.css", "console.js", "icon.svg")}


@page("/", "/console", role=None)
async def show_start(request: web.Request) -> web.Response:
    """Lead to the segments."""
    del request
    return redirect(START)


@page("/console/sign-in", role=None)
async def show_sign_in(request: web.Request) -> web.Response:
    """Ask for a key."""
    if request.app[KEY_CACHE].open:
        return redirect(START)
    return render(request, "sign_in.html", {"wrong": False, "next": _next(request)})


@page("/console/sign-in", role=None, method="POST")
async def begin_session(request: web.Request) -> web.Response:
    """Begin a session if the key is valid."""
    form = await read_form(request)
    response = redirect(_next(request))
    if await sign_in(request, form["key"], response):
        return response
    return render(request, "sign_in.html", {"wrong": True, "next": _next(request)}, status=422)


@page("/console/sign-out", role=None, method="POST")
async def end_session(request: web.Request) -> web.Response:
    """End the session."""
    del request
    response = redirect("/console/sign-in")
    response.del_cookie(COOKIE, path="/console")
    return response


@page("/console/language/{language}", role=None)
async def set_language(request: web.Request) -> web.Response:
    """Show the pages in a language from now on."""
    language = request.match_info["language"]
    if language not in LANGUAGES:
        raise NotFound("there is no such language")
    response = redirect(_next(request))
    response.set_cookie(LANGUAGE, language, max_age=365 * 86400, path="/console", samesite="Lax")
    return response


@page("/console/static/{file}", role=None)
async def show_static(request: web.Request) -> web.Response:
    """Serve a file of the pages."""
    path = STATIC.get(request.match_info["file"])
    if path is None:
        raise NotFound(f"no route has the path {request.path}")
    return serve_file(request, path)


def _next(request: web.Request) -> str:
    """Return the page of the console to go to, which a link to elsewhere cannot be."""
    path = request.query.get("next", "")
    return path if path.startswith("/console/") else START
