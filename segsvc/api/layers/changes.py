"""Changes of layers: one transaction each, recorded in the audit log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from segsvc.api.audit.changes import record_layer, recorded
from segsvc.api.layers import store
from segsvc.auth.keys import actor
from segsvc.db.conditions import InAnotherLayer, NotInLayer, SegmentsNotLive, TooManySegments
from segsvc.db.pool import Connection, connection
from segsvc.http import problems
from segsvc.http.app_keys import LARGE_READS, POOL
from segsvc.http.problems import LayerSlugTaken
from segsvc.http.requests import author, pointer, refusal

# Where a request names segments, by their slugs.
Places = dict[str, tuple[str | int, ...]]


class _DryRun(Exception):  # noqa: N818 (it rolls back, and goes no further)
    """A change was possible, and is not to be made."""


async def create(request: web.Request, new: dict[str, Any], *, dry_run: bool = False) -> None:
    """Form a layer as a loaded `NewLayerSchema` says; for a dry run, only see whether it can be.

    Raises:
        LayerSlugTaken: a live layer has the slug.
        NotEnoughFree: the segments have more than all points together.
        Problem: what `_changed` raises.
    """
    slug, slugs = new["slug"], new["segments"]
    places: Places = {name: ("segments", i) for i, name in enumerate(slugs)}
    async with _changed(request, slug, places, dry_run=dry_run) as conn:
        if not await store.create(conn, slug, slugs, redeal=new["redeal"], actor=actor(request)):
            raise LayerSlugTaken(slug)


async def change(
    request: web.Request, slug: str, wanted: store.Change, *, dry_run: bool = False
) -> None:
    """Change a live layer; for a dry run, only see whether it can be changed.

    Raises:
        InvalidRequest: it would have too many segments, or some to change are not in it.
        LayerNotLive, PlanPending, NotEnoughFree: as `store.change` does.
        Problem: what `_changed` raises.
    """
    places: Places = {name: ("percents", name) for name in wanted.percents}
    places |= {name: ("remove", i) for i, name in enumerate(wanted.remove)}
    places |= {name: ("add", i) for i, name in enumerate(wanted.add)}
    try:
        async with _changed(request, slug, places, dry_run=dry_run) as conn:
            await store.change(conn, slug, wanted, actor(request))
    except TooManySegments:
        detail = f"a layer has at most {store.MAX_SEGMENTS} segments"
        raise refusal(detail, ("add",)) from None


async def delete(request: web.Request, slug: str, *, redeal: bool, dry_run: bool = False) -> None:
    """Delete a live layer; for a dry run, only see whether it can be deleted.

    Raises:
        LayerNotLive: no live layer has the slug.
        Problem: what `_changed` raises.
    """
    async with _changed(request, slug, {}, dry_run=dry_run) as conn:
        await store.delete(conn, slug, redeal=redeal, actor=actor(request))


@asynccontextmanager
async def _changed(
    request: web.Request, slug: str, places: Places, *, dry_run: bool
) -> AsyncIterator[Connection]:
    """Lend a connection in a transaction that holds the locks of the slugs; record the change.

    What is refused becomes a problem with its places. No places: the segments of the layer.
    """
    try:
        async with connection(request.app[POOL]) as conn, conn.transaction():
            names = await store.lock_slugs(conn, slug, list(places))
            before = await store.segments_of(conn, slug)
            async with recorded(conn, author(request), names):
                yield conn
            if dry_run:
                raise _DryRun  # noqa: TRY301 (only an error rolls back)
            after = await store.segments_of(conn, slug)
            await record_layer(conn, author(request), slug, before, after)
    except _DryRun:
        return
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
