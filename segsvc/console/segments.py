"""The pages of segments: the list, one segment, and every change of it but that of its members."""

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import timedelta
from decimal import Decimal
from typing import Any

from aiohttp import web

from segsvc.api.audit import store as audit
from segsvc.api.members import store as members
from segsvc.api.members.schemas import MEMBER_PAGE
from segsvc.api.segments import changes, stats
from segsvc.api.segments import store as segments
from segsvc.api.segments.percentages import Step
from segsvc.api.segments.schemas import (
    NEW_SEGMENT,
    PLAN,
    PREVIEW_QUERY,
    SEGMENT_CHANGE,
    SEGMENT_PAGE,
)
from segsvc.api.segments.stats import Interval
from segsvc.api.users.schemas import AS_OF
from segsvc.console import charts, store
from segsvc.console.filters import field, plain
from segsvc.console.forms import Form, Shown, form_page, number, time
from segsvc.console.forms import user_id as user_id_in
from segsvc.console.pages import START, done, page, redirect, render
from segsvc.db import clock
from segsvc.db.pool import connection
from segsvc.http.app_keys import EXPORTS, LARGE_READS, POOL
from segsvc.http.middlewares import problem_of
from segsvc.http.problems import InvalidRequest
from segsvc.http.requests import load, read_query, read_slug, refusal

PAGE_SIZE = 50
DAYS = 90

# Empty rows under the steps of a plan.
SPARE_ROWS = 3

# Of a ramp: its steps, and the hours between two of them.
LEAST_RAMP, MOST_RAMP = 2, 100
MOST_HOURS = 8760


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
    }
    return render(request, "segments.html", context)


@page("/console/segments/{slug}")
async def show_segment(request: web.Request) -> web.Response:
    """Show a segment: its percentage, its members, now or as of a time, and its changes."""
    slug, form = read_slug(request), Form(request.query)
    asked = load(MEMBER_PAGE, form.given(at=time, source=str, after=str))
    after, at, source = asked["after"], asked["at"], asked["source"]
    user_id = user_id_in(form, "user") if form["user"] else None
    if user_id:
        after = user_id - 1
    async with connection(request.app[POOL]) as conn:
        segment = await segments.get(conn, slug)
        plan = await segments.get_plan(conn, slug)
        listed = members.Listed(await segments.find(conn, slug, at), at, source)
        found = await members.list_page(conn, listed, after, 1 if user_id else PAGE_SIZE + 1)
        entries = await audit.list_page(conn, None, 10, slug, None)
    if user_id:
        found = [each for each in found if each.user_id == user_id]
    context = {
        "segment": segment,
        "plan": plan.steps,
        "members": found[:PAGE_SIZE],
        "next": found[PAGE_SIZE - 1].user_id if len(found) > PAGE_SIZE else None,
        "source": source,
        "user": user_id,
        "at": at,
        "entries": entries,
    }
    return render(request, "segment.html", context)


@page("/console/segments/{slug}/size")
async def show_size(request: web.Request) -> web.Response:
    """Show the size of a segment over time; the page of the segment includes it."""
    slug = read_slug(request)
    async with request.app[EXPORTS].open() as conn:
        segment = await segments.get(conn, slug)
        start = max(segment.created_at, await clock.now(conn) - timedelta(days=DAYS - 1))
        steps = await stats.list_stats(conn, slug, Interval.DAY, start, None)
    context = {
        "slug": slug,
        "chart": charts.size_chart(steps),
        "latest": steps[-1],
        "days": len(steps),
    }
    return render(request, "size.html", context)


@form_page("/console/new-segment", "new_segment.html")
async def create_segment(request: web.Request, form: Form) -> web.Response:
    """Create a segment without members."""
    new = {"slug": form["slug"], "description": form["description"]}
    segment = await changes.create(request, load(NEW_SEGMENT, new | form.given(percent=number)))
    return done(f"/console/segments/{segment.slug}", "created", slug=segment.slug)


async def _segment(request: web.Request, form: Form) -> Shown:
    del form
    slug = read_slug(request)
    async with connection(request.app[POOL]) as conn:
        plan = await segments.get_plan(conn, slug)
        return {"segment": await segments.get(conn, slug), "plan": plan.steps, "etag": plan.etag}


async def _preview(request: web.Request, form: Form) -> Shown:
    """Count who would enter and leave with the percentage in the form, if there is one."""
    shown = await _segment(request, form)
    if form["percent"] and request.method == "GET":
        try:
            asked = load(PREVIEW_QUERY, {"percent": form["percent"].replace(",", ".")})
            slug = shown["segment"].slug
            shown["counted"] = await changes.preview(request, slug, asked["percent"], None)
        except Exception as error:  # noqa: BLE001 (said on the page)
            shown["problem"] = problem_of(request, error)
    return shown


@form_page("/console/segments/{slug}/percent", "percent.html", _preview)
async def set_percent(request: web.Request, form: Form) -> web.Response:
    """Set the percentage; its form shows first who would enter and leave."""
    slug = read_slug(request)
    percent = None if form["percent"] == "none" else number(form["percent"])
    change = {"percent": percent} | form.given(plan=str)
    await changes.change(request, slug, load(SEGMENT_CHANGE, change))
    return done(f"/console/segments/{slug}", "changed", slug=slug)


@form_page("/console/segments/{slug}/edit", "edit.html", _segment)
async def edit_segment(request: web.Request, form: Form) -> web.Response:
    """Change the description and the planned end."""
    slug = read_slug(request)
    change: Shown = {}
    # What was left as it was is not sent: somebody else may have changed it meanwhile.
    if form["description"] != form["description_before"]:
        change["description"] = form["description"]
    if time(form["ends_at"]) != time(form["ends_at_before"]):
        change["ends_at"] = time(form["ends_at"]) if form["ends_at"] else None
    if not change:
        return redirect(f"/console/segments/{slug}")
    await changes.change(request, slug, load(SEGMENT_CHANGE, change))
    return done(f"/console/segments/{slug}", "changed", slug=slug)


async def _leaving(request: web.Request, form: Form) -> Shown:
    """Count who would leave."""
    del form
    slug = read_slug(request)
    async with request.app[EXPORTS].open() as conn:
        now = await clock.now(conn)
        steps = await stats.list_stats(conn, slug, Interval.HOUR, now, None)
    return {"slug": slug, "latest": steps[-1]}


@form_page("/console/segments/{slug}/delete", "delete.html", _leaving)
async def delete_segment(request: web.Request, form: Form) -> web.Response:
    """Delete a segment; its form says how many users leave."""
    del form
    slug = read_slug(request)
    await changes.delete(request, slug)
    return done(START, "deleted", slug=slug)


async def _plan(request: web.Request, form: Form) -> Shown:
    """Return the rows of a plan: those of the form, of a ramp, or the stored ones."""
    slug = read_slug(request)
    async with connection(request.app[POOL]) as conn:
        segment = await segments.get(conn, slug)
        stored = await segments.get_plan(conn, slug)
        now = await clock.now(conn)
    rows = [(field(step.at), _text(step.percent)) for step in stored.steps]
    problem = None
    if request.method == "POST":
        rows = list(zip(form.all("at"), form.all("percent"), strict=False))
    elif form["first"]:
        try:
            rows = _ramp(form)
        except Exception as error:  # noqa: BLE001 (said on the page)
            problem = problem_of(request, error)
    drawn = _drawn(rows, stored.steps)
    return {
        "segment": segment,
        "etag": form["etag"] or stored.etag,
        "rows": [*(row for row in rows if any(row)), *[("", "")] * SPARE_ROWS],
        "chart": charts.plan_chart(segment.percent, drawn, now, segment.ends_at),
        "problem": problem,
    }


@form_page("/console/segments/{slug}/plan", "plan.html", _plan)
async def set_plan(request: web.Request, form: Form) -> web.StreamResponse | Shown:
    """Replace what is planned for the percentage, unless another request has changed it."""
    slug = read_slug(request)
    async with connection(request.app[POOL]) as conn:
        stored = await segments.get_plan(conn, slug)
    if not form.all("at") or len(form.all("at")) != len(form.all("percent")):
        raise refusal("must be there as often as a percentage", ("at",))
    steps = _steps(list(zip(form.all("at"), form.all("percent"), strict=True)), stored.steps)
    if form["do"] != "save":
        return {}
    await changes.set_plan(request, slug, steps, {form["etag"]})
    return done(f"/console/segments/{slug}", "planned" if steps else "unplanned", slug=slug)


def _steps(rows: Sequence[tuple[str, str]], stored: Sequence[Step]) -> list[Step]:
    """Return the steps of a form. A stored time that is left as it is keeps its microseconds.

    Raises:
        InvalidRequest: some rows are wrong.
    """
    filled = [(at, percent) for at, percent in rows if at or percent]
    if not filled:
        return []
    steps = [
        {"at": time(at), "percent": None if percent == "none" else number(percent)}
        for at, percent in filled
    ]
    exact = {time(field(step.at)): step.at for step in stored}
    loaded: list[Step] = load(PLAN, {"steps": steps})["steps"]
    return [
        Step(exact.get(time(at), step.at), step.percent)
        for (at, _), step in zip(filled, loaded, strict=True)
    ]


def _drawn(rows: Sequence[tuple[str, str]], stored: Sequence[Step]) -> list[Step]:
    """Return the steps to draw: none if some of them are wrong."""
    try:
        return _steps(rows, stored)
    except InvalidRequest:
        return []


def _ramp(form: Form) -> list[tuple[str, str]]:
    """Return the rows of a ramp: so many equal steps, one each so many hours.

    Raises:
        InvalidRequest: a field is wrong.
    """
    first = load(AS_OF, {"at": time(form["first"])})["at"]
    numbers = {name: number(form[name]) for name in ("low", "high", "count", "hours")}
    wrong = [(name,) for name, value in numbers.items() if not isinstance(value, Decimal)]
    if wrong:
        raise refusal("must be a number", *wrong)
    low, high, count, hours = numbers.values()
    if not LEAST_RAMP <= count <= MOST_RAMP or count != int(count):
        raise refusal(f"must be a whole number from {LEAST_RAMP} to {MOST_RAMP}", ("count",))
    if not 0 < hours <= MOST_HOURS:
        raise refusal(f"must be above 0 and at most {MOST_HOURS}", ("hours",))
    try:
        return [
            (
                field(first + index * timedelta(hours=float(hours))),
                _text(round(low + (high - low) * index / (count - 1), 2)),
            )
            for index in range(int(count))
        ]
    except OverflowError:
        raise refusal("is too late", ("first",)) from None


def _text(percent: Decimal | None) -> str:
    """Return a percentage as the form of a plan has it."""
    return "none" if percent is None else plain(percent)
