"""Layers: form, list, read, change and delete them."""

from typing import Any

from aiohttp import web

from segsvc.api.layers import changes, store
from segsvc.api.layers.schemas import (
    LAYER,
    LAYER_CHANGE,
    LAYER_DELETION,
    LAYER_LIST,
    LAYER_PAGE,
    NEW_LAYER,
)
from segsvc.api.users.schemas import AS_OF
from segsvc.auth.roles import Role
from segsvc.db import clock
from segsvc.db.pool import connection
from segsvc.http import problems
from segsvc.http.app_keys import POOL
from segsvc.http.problems import LayerNotFound, LayerSlugTaken, NotEnoughFree, PlanPending
from segsvc.http.requests import read_body, read_layer_slug, read_query
from segsvc.http.responses import json_response, list_response
from segsvc.http.routes import Routes

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
    await changes.create(request, new)
    slug = new["slug"]
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
    await changes.change(request, slug, await read_body(request, LAYER_CHANGE))
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
    await changes.delete(request, slug, redeal=redeal)
    return web.Response(status=204)


def _described(layer: store.DescribedLayer) -> dict[str, Any]:
    return vars(layer) | {"free": layer.free}
