"""The pages for those who look: segments, one segment, a user, layers, the audit log."""

from contextlib import nullcontext
from datetime import timedelta
from typing import Any

from aiohttp import web

from segsvc.api.audit import store as audit
from segsvc.api.layers import store as layers
from segsvc.api.members import store as members
from segsvc.api.segments import stats
from segsvc.api.segments import store as segments
from segsvc.api.segments.points import SPACE
from segsvc.api.segments.schemas import SEGMENT_PAGE
from segsvc.api.segments.stats import Interval
from segsvc.api.users import store as users
from segsvc.auth.keys import KEY_CACHE
from segsvc.console import charts, store
from segsvc.console.charts import Stay
from segsvc.console.pages import HERE, LANGUAGE, START, page, redirect, render
from segsvc.console.sessions import COOKIE, sign_in
from segsvc.console.texts import LANGUAGES
from segsvc.db import clock
from segsvc.db.pool import connection
from segsvc.db.values import MAX_USER_ID, SLUG
from segsvc.http.app_keys import EXPORTS, LARGE_READS, POOL
from segsvc.http.fields import EARLIEST, LATEST, decimal
from segsvc.http.problems import NotFound
from segsvc.http.requests import read_query, read_slug
from segsvc.openapi.handlers import serve_file

PAGE_SIZE = 50
LAYERS = 20
DAYS = 90
MOST_EVENTS = 500

STATIC = {name: HERE / "static" / name for name in ("console.css", "console.js", "icon.svg")}


@page("/", "/console", role=None)
async def show_start(request: web.Request) -> web.Response:
    """Lead to the segments."""
    del request
    return redirect(START)


@page("/console/segments")
async def show_segments(request: web.Request) -> web.Response:
    """Show a page of live segments, searched and sorted."""
    query = read_query(request, SEGMENT_PAGE)
    sort, after, q = query["sort"], query["after"], query["q"] or None
    found: list[Any]
    # The whole database is read for the other orders.
    turn = nullcontext() if sort is segments.Sort.SLUG else request.app[LARGE_READS].take()
    async with turn, connection(request.app[POOL]) as conn:
        if sort is segments.Sort.SLUG:
            found = list(
                await segments.list_live(conn, after[1] if after else "", PAGE_SIZE + 1, q)
            )
            cursors = [each.slug for each in found]
        else:
            found = list(await segments.list_sorted(conn, sort, after, PAGE_SIZE + 1, q))
            cursors = [f"{each.rank},{each.slug}" for each in found]
        described = await store.describe(conn, [each.slug for each in found])
    following = cursors[PAGE_SIZE - 1] if len(found) > PAGE_SIZE else None
    context = {
        "segments": found[:PAGE_SIZE],
        "described": described,
        "next": following,
        "sort": sort,
        "q": q or "",
        "most": store.MOST_COUNTED,
    }
    return render(request, "segments.html", context)


@page("/console/segments/{slug}")
async def show_segment(request: web.Request) -> web.Response:
    """Show a segment: its size over time, its percentage, its members and its changes."""
    slug = read_slug(request)
    after = decimal(request.query.get("after", "")) or 0
    source = request.query.get("source")
    source = source if source in {"manual", "rollout"} else None
    async with connection(request.app[POOL]) as conn:
        segment = await segments.get(conn, slug)
        plan = await segments.get_plan(conn, slug)
        listed = members.Listed(await segments.find(conn, slug), None, source)
        found = await members.list_page(conn, listed, after, PAGE_SIZE + 1)
        entries = await audit.list_page(conn, None, 10, slug, None)
        now = await clock.now(conn)
    async with request.app[EXPORTS].open() as conn:
        start = max(segment.created_at, now - timedelta(days=DAYS - 1))
        steps = await stats.list_stats(conn, slug, Interval.DAY, start, None)
    context = {
        "segment": segment,
        "plan": plan.steps,
        "members": found[:PAGE_SIZE],
        "next": found[PAGE_SIZE - 1].user_id if len(found) > PAGE_SIZE else None,
        "source": source,
        "entries": entries,
        "chart": charts.size_chart(steps),
        "latest": steps[-1],
        "days": len(steps),
    }
    return render(request, "segment.html", context)


@page("/console/users")
async def find_user(request: web.Request) -> web.Response:
    """Lead to the user whose id was given."""
    user_id = _user_id(request.query.get("id", "").strip())
    if user_id is None:
        return render(request, "error.html", {"name": "error.user_id", "detail": ""}, status=422)
    return redirect(f"/console/users/{user_id}")


@page("/console/users/{user_id}")
async def show_user(request: web.Request) -> web.Response:
    """Show the segments of a user, each with its reason, and the stays as a picture."""
    user_id = _user_id(request.match_info["user_id"])
    if user_id is None:
        raise NotFound("a user id is an integer from 1 to 9223372036854775807")
    async with connection(request.app[POOL]) as conn:
        memberships = await users.explain(conn, user_id)
        upcoming = await users.list_upcoming(conn, user_id)
        between = (EARLIEST, LATEST)
        events = await users.list_events(conn, user_id, between, (EARLIEST, ""), MOST_EVENTS + 1)
        now = await clock.now(conn)
    ends = {each.slug: each.expires_at for each in memberships if each.state == "included"}
    happened = ((e.at, e.slug, e.operation, e.cause) for e in events[:MOST_EVENTS])
    stays = charts.stays_of(happened, ends)
    stays += [Stay(p.slug, p.starts_at, p.expires_at, "added", planned=True) for p in upcoming]
    context = {
        "user_id": user_id,
        "memberships": [each for each in memberships if each.state == "included"],
        "others": [each for each in memberships if each.state != "included"],
        "events": events[:MOST_EVENTS][::-1],
        "more": len(events) > MOST_EVENTS,
        "timeline": charts.timeline(stays, now),
        "space": SPACE,
    }
    return render(request, "user.html", context)


@page("/console/layers")
async def show_layers(request: web.Request) -> web.Response:
    """Show each layer as a bar from 0 to 100 %, with what its segments take."""
    after = request.query.get("after", "")
    async with connection(request.app[POOL]) as conn:
        listed = await layers.list_live(conn, after if SLUG.fullmatch(after) else "", LAYERS + 1)
        found = [await layers.get(conn, layer.slug) for layer in listed[:LAYERS]]
    following = listed[LAYERS - 1].slug if len(listed) > LAYERS else None
    context = {"layers": found, "next": following, "space": SPACE}
    return render(request, "layers.html", context)


@page("/console/audit")
async def show_audit(request: web.Request) -> web.Response:
    """Show who changed what, the newest change first."""
    after = decimal(request.query.get("after", ""))
    slug, actor = (request.query.get(name, "") for name in ("slug", "actor"))
    async with connection(request.app[POOL]) as conn:
        found = await audit.list_page(conn, after, PAGE_SIZE + 1, slug or None, actor or None)
    following = found[PAGE_SIZE - 1].id if len(found) > PAGE_SIZE else None
    context = {"entries": found[:PAGE_SIZE], "next": following, "slug": slug, "actor": actor}
    return render(request, "audit.html", context)


@page("/console/sign-in", role=None)
async def show_sign_in(request: web.Request) -> web.Response:
    """Ask for a key."""
    if request.app[KEY_CACHE].open:
        return redirect(START)
    return render(request, "sign_in.html", {"wrong": False, "next": _next(request)})


@page("/console/sign-in", role=None, method="POST")
async def begin_session(request: web.Request) -> web.Response:
    """Begin a session if the key is valid."""
    form = await request.post()
    response = redirect(_next(request))
    key = form.get("key")
    if isinstance(key, str) and await sign_in(request, key, response):
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


def _user_id(text: str) -> int | None:
    """Return the user id that a text is, None if it is none."""
    user_id = decimal(text)
    return user_id if user_id is not None and user_id <= MAX_USER_ID else None


def _next(request: web.Request) -> str:
    """Return the page of the console to go to, which a link to elsewhere cannot be."""
    path = request.query.get("next", "")
    return path if path.startswith("/console/") else START
