"""The page of sets: make or change a segment from others, with the count first."""

from aiohttp import web

from segsvc.api.members import changes, store
from segsvc.api.members.sets import USER_SET, NamedSegment, resolve
from segsvc.api.segments import changes as segments
from segsvc.api.segments.schemas import NEW_SEGMENT
from segsvc.auth.keys import actor
from segsvc.console.forms import Form, Shown, form_page, time
from segsvc.console.members import QUERIES, choice, operation_of
from segsvc.console.pages import done
from segsvc.db.values import SLUG
from segsvc.http.app_keys import IMPORTS
from segsvc.http.middlewares import problem_of
from segsvc.http.problems import SegmentNotFound
from segsvc.http.requests import load


async def _counted(request: web.Request, form: Form) -> Shown:
    """Count the users of the set in the form, if it names segments."""
    if not any(form[name] for name in ("any_of", "all_of", "none_of")):
        return {"users": None}
    try:
        named: list[NamedSegment] = load(USER_SET, _set(form))
        async with request.app[IMPORTS].open() as conn:
            users = await resolve(conn, named)
            return {"users": await store.count_set(conn, users)}
    except Exception as error:  # noqa: BLE001 (said on the page)
        return {"users": None, "problem": problem_of(request, error)}


@form_page("/console/sets", "sets.html", _counted)
async def use_set(request: web.Request, form: Form) -> web.StreamResponse | Shown:
    """Create a segment with the users of a set, or change one, or count first what would change."""
    slug, chosen = form["slug"], _set(form)
    if form["operation"] == "create":
        new = load(NEW_SEGMENT, {"slug": slug, "description": form["description"], **chosen})
        if form["do"] != "save":
            return {}
        segment = await segments.create(request, new)
        return done(f"/console/segments/{slug}", "filled", slug=slug, count=segment.members)
    operation = operation_of(form)
    if not SLUG.fullmatch(slug):
        raise SegmentNotFound(slug)
    dry_run = {"dry_run": "false" if form["do"] == "save" else "true"}
    options = load(QUERIES[operation], dry_run | choice(form))
    wanted = store.Change(slug, operation, **options, actor=actor(request))
    counts = await changes.change_set(request, wanted, load(USER_SET, chosen))
    if wanted.dry_run:
        return {"counted": counts, "operation": operation}
    changed = counts.get("changed", 0) + counts.get("added", 0) + counts.get("removed", 0)
    return done(f"/console/segments/{slug}", "filled", slug=slug, count=changed)


def _set(form: Form) -> Shown:
    parts = {name: form.slugs(name) for name in ("any_of", "all_of", "none_of") if form[name]}
    return {"from": parts, **form.given(at=time)}
