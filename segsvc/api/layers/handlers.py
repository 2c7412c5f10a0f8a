"""Layers: form, list, read, change and delete them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from segsvc.api.audit.changes import record_layer, recorded
from segsvc.api.layers import store
from segsvc.api.layers.schemas import (
    LAYER,
    LAYER_CHANGE,
    LAYER_DELETION,
    LAYER_LIST,
    LAYER_PAGE,
    NEW_LAYER,
)
from segsvc.api.users.schemas import AS_OF
from segsvc.auth.keys import actor
from segsvc.auth.roles import Role
from segsvc.db import clock
from segsvc.db.conditions import InAnotherLayer, NotInLayer, SegmentsNotLive, TooManySegments
from segsvc.db.pool import Connection, connection
from segsvc.http import problems
from segsvc.http.app_keys import LARGE_READS, POOL
from segsvc.http.problems import LayerNotFound, LayerSlugTaken, NotEnoughFree, PlanPending
from segsvc.http.requests import author, pointer, read_body, read_layer_slug, read_query, refusal
from segsvc.http.responses import json_response, list_response
from segsvc.http.routes import Routes

# Where a request names segments, by their slugs.
Places = dict[str, tuple[str | int, ...]]

ROUTES = Routes("layers", "Sets of segments of which a user is in at most one at any time")


@ROUTES.post(
    "/layers",
    role=Role.EDITOR,
    bodies=(NEW_LAYER,),
    example={"slug": "DISCOUNTS", "segments": ["DISCOUNT_30", "DISCOUNT_50"]},
    status=201,
    answers=(LAYER,),
    problems=(
        LayerSlugTaken,
        problems.InAnotherLayer,
        NotEnoughFree,
        problems.RedealNeeded,
        problems.UnknownSegments,
    ),
)
async def create_layer(request: web.Request) -> web.Response:
    """Form a layer over segments, which may have members and percentages already."""
    new = await read_body(request, NEW_LAYER)
    slug, slugs = new["slug"], new["segments"]
    places: Places = {name: ("segments", i) for i, name in enumerate(slugs)}
    async with _changed(request, slug, places) as conn:
        if not await store.create(conn, slug, slugs, redeal=new["redeal"], actor=actor(request)):
            raise LayerSlugTaken(slug)
    async with connection(request.app[POOL]) as conn:
        layer = _described(await store.get(conn, slug))
    location = f"{request.path}/{slug}"
    return json_response(LAYER, layer, status=201, headers={"Location": location})


@ROUTES.get("/layers", role=Role.EDITOR, query=LAYER_PAGE, answers=(LAYER_LIST,))
async def list_layers(request: web.Request) -> web.Response:
    """List a page of live layers in the order of their slugs."""
    page = read_query(request, LAYER_PAGE)
    limit = page["limit"]
    async with connection(request.app[POOL]) as conn:
        layers = await store.list_live(conn, page["after"], limit + 1)
    following = layers[limit - 1].slug if len(layers) > limit else None
    length = len(layers) + sum(len(layer.segments) for layer in layers)
    return await list_response(LAYER_LIST, {"layers": layers[:limit], "next": following}, length)


@ROUTES.get(
    "/layers/{slug}", role=Role.EDITOR, query=AS_OF, answers=(LAYER,), problems=(LayerNotFound,)
)
async def get_layer(request: web.Request) -> web.Response:
    """Describe a layer, now or as of any time."""
    slug = read_layer_slug(request)
    at = read_query(request, AS_OF)["at"]
    async with connection(request.app[POOL]) as conn:
        layer = await store.get(conn, slug, at)
        marked = await clock.preview_mark(conn, at)
    return json_response(LAYER, _described(layer) | marked)


@ROUTES.patch(
    "/layers/{slug}",
    role=Role.EDITOR,
    bodies=(LAYER_CHANGE,),
    example={"percents": {"DISCOUNT_30": 20, "DISCOUNT_50": 80}},
    answers=(LAYER,),
    problems=(
        LayerNotFound,
        problems.InAnotherLayer,
        NotEnoughFree,
        PlanPending,
        problems.RedealNeeded,
        problems.UnknownSegments,
    ),
)
async def change_layer(request: web.Request) -> web.Response:
    """Add and remove segments, and change percentages, at one instant: shrinking ones first."""
    slug = read_layer_slug(request)
    wanted: store.Change = await read_body(request, LAYER_CHANGE)
    places: Places = {name: ("percents", name) for name in wanted.percents}
    places |= {name: ("remove", i) for i, name in enumerate(wanted.remove)}
    places |= {name: ("add", i) for i, name in enumerate(wanted.add)}
    try:
        async with _changed(request, slug, places) as conn:
            await store.change(conn, slug, wanted, actor(request))
    except TooManySegments:
        detail = f"a layer has at most {store.MAX_SEGMENTS} segments"
        raise refusal(detail, ("add",)) from None
    async with connection(request.app[POOL]) as conn:
        return json_response(LAYER, _described(await store.get(conn, slug)))


@ROUTES.delete(
    "/layers/{slug}",
    role=Role.EDITOR,
    query=LAYER_DELETION,
    status=204,
    problems=(LayerNotFound, problems.RedealNeeded),
)
async def delete_layer(request: web.Request) -> web.Response:
    """Delete a layer; its segments go on without it."""
    slug = read_layer_slug(request)
    redeal = read_query(request, LAYER_DELETION)["redeal"]
    async with _changed(request, slug, {}) as conn:
        await store.delete(conn, slug, redeal=redeal, actor=actor(request))
    return web.Response(status=204)


def _described(layer: store.DescribedLayer) -> dict[str, Any]:
    return vars(layer) | {"free": layer.free}


@asynccontextmanager
async def _changed(request: web.Request, slug: str, places: Places) -> AsyncIterator[Connection]:
    """Lend a connection in a transaction that holds the locks of the slugs; record the change.

    What is refused becomes a problem with its places. No places: the segments of the layer.
    """
    try:
        async with connection(request.app[POOL]) as conn, conn.transaction():
            names = await store.lock_slugs(conn, slug, list(places))
            before = await store.segments_of(conn, slug)
            async with recorded(conn, author(request), names):
                yield conn
            after = await store.segments_of(conn, slug)
            await record_layer(conn, author(request), slug, before, after)
    except SegmentsNotLive as error:
        raise problems.UnknownSegments(
            _errors(places, {slug: f"no live segment has the slug {slug}" for slug in error.slugs})
        ) from None
    except InAnotherLayer as error:
        details = {slug: f"{slug} is in the layer {other}" for slug, other in error.layers.items()}
        raise problems.InAnotherLayer(_errors(places, details)) from None
    except NotInLayer as error:
        raise refusal(error.detail, *(places[slug] for slug in sorted(error.slugs))) from None
    except store.RedealNeeded as error:
        async with request.app[LARGE_READS].take(), connection(request.app[POOL]) as conn:
            counts = await store.count_deals(conn, error)
        details = {
            slug: f"of the known users, {moved.enter} would enter {slug} and {moved.leave} leave it"
            for slug, moved in counts
        }
        raise problems.RedealNeeded(_errors(places, details)) from None


def _errors(places: Places, details: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"pointer": pointer(*places.get(slug, ())), "detail": details[slug]}
        for slug in sorted(details)
    ]
