"""The pages of layers: what their segments take; form, change and dissolve them."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from segsvc.api.layers import changes
from segsvc.api.layers import store as layers
from segsvc.api.layers.schemas import LAYER_CHANGE, NEW_LAYER
from segsvc.api.members import store as members
from segsvc.api.members.store import Part, UserSet
from segsvc.api.segments import store as segments
from segsvc.api.segments.points import SPACE
from segsvc.console.forms import Form, Shown, form_page, number
from segsvc.console.pages import done, page, render
from segsvc.db.pool import connection
from segsvc.db.values import SLUG
from segsvc.http.app_keys import IMPORTS, POOL
from segsvc.http.problems import RedealNeeded
from segsvc.http.requests import load, read_layer_slug

PAGE_SIZE = 20
LAYERS = "/console/layers"


@page("/console/layers")
async def show_layers(request: web.Request) -> web.Response:
    """Show each layer as a bar from 0 to 100 %, with what its segments take."""
    after = request.query.get("after", "")
    async with connection(request.app[POOL]) as conn:
        listed = await layers.list_live(conn, after if SLUG.fullmatch(after) else "", PAGE_SIZE + 1)
        found = [await layers.get(conn, layer.slug) for layer in listed[:PAGE_SIZE]]
    following = listed[PAGE_SIZE - 1].slug if len(listed) > PAGE_SIZE else None
    context = {"layers": found, "next": following, "space": SPACE}
    return render(request, "layers.html", context)


@form_page("/console/new-layer", "new_layer.html")
async def create_layer(request: web.Request, form: Form) -> web.StreamResponse | Shown:
    """Form a layer, or count first who is in several of its segments."""
    slugs = form.slugs("segments")
    body = {"slug": form["slug"], "segments": slugs, "redeal": bool(form["redeal"])}
    new = load(NEW_LAYER, body)
    if form["do"] != "save":
        dealt = await _dealt(changes.create(request, new | {"redeal": False}, dry_run=True))
        return {"counted": await _shared(request, slugs, slugs), "dealt": dealt}
    await changes.create(request, new)
    return done(LAYERS, "layer_formed", slug=form["slug"])


async def _layer(request: web.Request, form: Form) -> Shown:
    del form
    async with connection(request.app[POOL]) as conn:
        return {"layer": await layers.get(conn, read_layer_slug(request))}


@form_page("/console/layers/{slug}", "change_layer.html", _layer)
async def change_layer(request: web.Request, form: Form) -> web.StreamResponse | Shown:
    """Change the segments of a layer and their percentages, or count first who is in several."""
    slug = read_layer_slug(request)
    add, remove = form.slugs("add"), form.all("remove")
    async with connection(request.app[POOL]) as conn:
        layer = await layers.get(conn, slug)
    body: dict[str, Any] = {"redeal": bool(form["redeal"])}
    body |= {name: given for name, given in (("add", add), ("remove", remove)) if given}
    # What was left as it was is not sent: somebody else may have changed it meanwhile.
    percents = {
        share.slug: _percent(form[f"percent.{share.slug}"])
        for share in layer.segments
        if share.slug not in remove
        and form[f"percent.{share.slug}"] != form[f"before.{share.slug}"]
    }
    if percents:
        body |= {"percents": percents, **form.given(plan=str)}
    wanted = load(LAYER_CHANGE, body)
    if form["do"] != "save":
        careful = load(LAYER_CHANGE, body | {"redeal": False})
        dealt = await _dealt(changes.change(request, slug, careful, dry_run=True))
        others = [share.slug for share in layer.segments if share.slug not in remove]
        return {"counted": await _shared(request, add, [*others, *add]), "dealt": dealt}
    await changes.change(request, slug, wanted)
    return done(LAYERS, "layer_changed", slug=slug)


async def _dissolution(request: web.Request, form: Form) -> Shown:
    """Count who would enter and leave if the layer were dissolved."""
    slug = read_layer_slug(request)
    dealt = await _dealt(changes.delete(request, slug, redeal=False, dry_run=True))
    return {**await _layer(request, form), "dealt": dealt}


@form_page("/console/layers/{slug}/dissolve", "dissolve.html", _dissolution)
async def dissolve_layer(request: web.Request, form: Form) -> web.Response:
    """Dissolve a layer; its form says who enters and leaves because of that."""
    del form
    slug = read_layer_slug(request)
    await changes.delete(request, slug, redeal=True)
    return done(LAYERS, "layer_dissolved", slug=slug)


async def _dealt(change: Any) -> list[str]:
    """Return whom percentages would bring in and take out, in words of the API."""
    try:
        await change
    except RedealNeeded as problem:
        return [each["detail"] for each in problem.errors]
    return []


async def _shared(
    request: web.Request, slugs: Sequence[str], others: Sequence[str]
) -> list[tuple[str, int]]:
    """Count for each of some segments its users who are in one of the others now, too."""
    counts = []
    async with request.app[IMPORTS].open() as conn:
        ids = {slug: await segments.find(conn, slug) for slug in {*slugs, *others}}
        for slug in slugs:
            rest = [ids[other] for other in others if other != slug]
            if rest:
                parts = [Part.ALL, *[Part.ANY] * len(rest)]
                users = UserSet([ids[slug], *rest], [None] * len(parts), parts)
                counts.append((slug, await members.count_set(conn, users)))
    return counts


def _percent(text: str) -> Any:
    return number(text) if text else None
