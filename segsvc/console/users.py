"""The pages of users: one user, and the erasure."""

from aiohttp import web

from segsvc.api.segments.points import SPACE
from segsvc.api.users import changes
from segsvc.api.users import store as users
from segsvc.api.users.schemas import EVENT_PAGE
from segsvc.console import charts
from segsvc.console.charts import Stay
from segsvc.console.forms import Form, Shown, form_page
from segsvc.console.pages import START, done, page, redirect, render
from segsvc.db import clock
from segsvc.db.pool import connection
from segsvc.db.values import MAX_USER_ID, rfc3339
from segsvc.http.app_keys import POOL
from segsvc.http.fields import EARLIEST, LATEST, decimal
from segsvc.http.problems import NotFound
from segsvc.http.requests import load, refusal

# Rows of each table, events of a page, and events of which a picture is made.
MOST_ROWS = 100
EVENTS = 100
MOST_EVENTS = 500


@page("/console/users")
async def find_user(request: web.Request) -> web.Response:
    """Lead to the user whose id was given."""
    user_id = _user_id(request.query.get("id", "").strip())
    if user_id is None:
        return render(request, "error.html", {"name": "error.user_id"}, status=422)
    return redirect(f"/console/users/{user_id}")


@page("/console/users/{user_id}")
async def show_user(request: web.Request) -> web.Response:
    """Show the segments of a user, each with its reason, and the stays as a picture."""
    user_id = _read_user_id(request)
    after = load(EVENT_PAGE, Form(request.query).given(after=str))["after"]
    async with connection(request.app[POOL]) as conn:
        memberships = await users.explain(conn, user_id)
        upcoming = await users.list_upcoming(conn, user_id)
        events = await users.list_events(conn, user_id, (EARLIEST, LATEST), after, MOST_EVENTS + 1)
        now = await clock.now(conn)
    ends = {each.slug: each.expires_at for each in memberships if each.state == "included"}
    stays = []
    if len(events) <= MOST_EVENTS and after[0] == EARLIEST:  # else, some ends are not known here
        stays = charts.stays_of(((e.at, e.slug, e.operation, e.cause) for e in events), ends)
        stays += [Stay(p.slug, p.starts_at, p.expires_at, "added", planned=True) for p in upcoming]
    last = events[EVENTS - 1] if len(events) > EVENTS else None
    included = [each for each in memberships if each.state == "included"]
    context = {
        "user_id": user_id,
        "count": len(included),
        "memberships": included[:MOST_ROWS],
        "others": [each for each in memberships if each.state != "included"][:MOST_ROWS],
        "events": events[:EVENTS],
        "next": f"{rfc3339(last.at)},{last.slug}" if last else None,
        "timeline": charts.timeline(stays, now),
        "space": SPACE,
    }
    return render(request, "user.html", context)


async def _user(request: web.Request, form: Form) -> Shown:
    del form
    return {"user_id": _read_user_id(request)}


@form_page("/console/users/{user_id}/erase", "erase.html", _user)
async def erase_user(request: web.Request, form: Form) -> web.Response:
    """Erase a user, if the id is typed once more."""
    user_id = _read_user_id(request)
    if form["again"] != str(user_id):
        raise refusal("is not the id of this user", ("again",))
    known = await changes.erase(request, user_id)
    return done(START, "erased" if known else "unknown", id=str(user_id))


def _read_user_id(request: web.Request) -> int:
    user_id = _user_id(request.match_info["user_id"])
    if user_id is None:
        raise NotFound(f"a user id is an integer from 1 to {MAX_USER_ID}")
    return user_id


def _user_id(text: str) -> int | None:
    """Return the user id that a text is, None if it is none."""
    user_id = decimal(text)
    return user_id if user_id is not None and user_id <= MAX_USER_ID else None
