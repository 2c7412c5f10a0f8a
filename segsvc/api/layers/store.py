"""Statements about layers. The caller owns the transaction, and locks the slugs for a change."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import asyncpg

from segsvc.api.segments import points
from segsvc.api.segments.percentages import (
    Deal,
    Layer,
    Locked,
    Moved,
    Step,
    after_changes,
    changed_steps,
    count_moved,
    deal,
    list_steps,
    merged,
    set_steps,
)
from segsvc.api.segments.points import Points
from segsvc.db import clock
from segsvc.db.conditions import (
    InAnotherLayer,
    LayerNotLive,
    NotInLayer,
    SegmentsNotLive,
    TooManySegments,
)
from segsvc.db.pool import Connection
from segsvc.db.sql import statement

LOCK_SLUG = statement("layers/lock_slug")
LOCK_SLUGS = statement("layers/lock_slugs")
LOCK = statement("layers/lock")
LOCK_SEGMENTS = statement("layers/lock_segments")
CREATE = statement("layers/create")
ENTER = statement("layers/enter")
LEAVE = statement("layers/leave")
DELETE = statement("layers/delete")
FIND = statement("layers/find")
LIST_LIVE = statement("layers/list_live")
LIST_SHARES = statement("layers/list_shares")
LIST_SEGMENTS = statement("layers/list_segments")

MAX_SEGMENTS = 100


@dataclass(frozen=True)
class ListedLayer:
    """A live layer with the slugs of its segments, sorted."""

    slug: str
    created_at: datetime
    segments: list[str]


@dataclass(frozen=True)
class Share:
    """A segment of a layer: its percentage, None if it is manual, and its points."""

    slug: str
    percent: Decimal | None
    points: Points

    @property
    def ranges(self) -> list[dict[str, int]]:
        """The points as half-open ranges."""
        return [{"start": lower, "end": upper} for lower, upper in self.points]


@dataclass(frozen=True)
class DescribedLayer:
    """A layer at a time, with its segments in the order of their slugs."""

    slug: str
    salt: str
    created_at: datetime
    segments: list[Share]

    @property
    def free(self) -> Decimal:
        """The percentage that no segment takes."""
        taken = sum(points.size(share.points) for share in self.segments)
        return points.percent_of(points.SPACE - taken)


class RedealNeeded(Exception):  # noqa: N818 (a condition that callers ask about)
    """Percentages would take other users, which the request does not allow; the caller rolls back.

    `neighbours` are the segments of the layer by then, none for a segment that leaves it.
    """

    def __init__(self, deals: Sequence[Deal], neighbours: Mapping[int, list[int]]) -> None:
        super().__init__([deal.slug for deal in deals])
        self.deals = deals
        self.neighbours = neighbours


@dataclass(frozen=True)
class Change:
    """What to change in a layer: segments to add and remove, and percentages by slug.

    `plan` says what becomes of pending plans of those percentages: "keep" or "cancel".
    """

    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    percents: Mapping[str, Decimal | None] = field(default_factory=dict)
    plan: str | None = None
    redeal: bool = False


async def lock_slugs(conn: Connection, slug: str, names: Sequence[str]) -> Sequence[str]:
    """Hold off other changes of a layer and of segments until the commit; return their slugs.

    No names: the segments that are in the layer.
    """
    await conn.execute(LOCK_SLUG, slug)
    locked = names or [row["slug"] for row in await conn.fetch(LIST_SEGMENTS, slug)]
    await conn.execute(LOCK_SLUGS, locked)
    return locked


async def segments_of(conn: Connection, slug: str) -> list[str] | None:
    """Return the segments of a layer of a locked slug, None if there is no live one."""
    if await conn.fetchrow(FIND, slug, await clock.now(conn)) is None:
        return None
    return [row["slug"] for row in await conn.fetch(LIST_SEGMENTS, slug)]


async def create(
    conn: Connection, slug: str, asked: Sequence[str], *, redeal: bool, actor: str | None
) -> bool:
    """Form a layer over live segments; return whether no live layer has the slug.

    The salt is the slug of the first automatic segment, so that its users stay.

    Raises:
        SegmentsNotLive: some of the segments are not live; nothing was changed.
        InAnotherLayer: some of them are in a layer already; nothing was changed.
        NotEnoughFree: they have more than all points together; the caller rolls back.
        RedealNeeded: users would enter or leave, and `redeal` is false; the caller rolls back.
    """
    locked = await _lock_segments(conn, asked)
    _refuse_others(locked.values(), None)
    now = locked[asked[0]]["locked_at"]
    steps = {name: await _steps(conn, locked[name]["id"], now) for name in asked}
    automatic = (name for name in asked if any(step.percent is not None for step in steps[name]))
    salt = next(automatic, slug)
    layer_id = await conn.fetchval(CREATE, slug, salt, now, actor)
    if layer_id is None:
        return False
    layer = Layer(layer_id, salt)
    deals = [
        await _move(conn, _locked(locked[name], now, None), layer, steps[name], actor)
        for name in asked
    ]
    await _refuse_deals(conn, slug, deals, redeal=redeal)
    return True


async def change(conn: Connection, slug: str, wanted: Change, actor: str | None) -> None:
    """Change a live layer at one instant: segments leave, shrink, grow and enter, in this order.

    Raises:
        LayerNotLive: no live layer has the slug; nothing was changed.
        SegmentsNotLive: some of the segments are not live; nothing was changed.
        InAnotherLayer: some of those to add are in another layer; nothing was changed.
        NotInLayer: some of the others are not in this one; nothing was changed.
        TooManySegments: the layer would have too many; the caller rolls back.
        PlanPending: a percentage is planned, and there is no word about it; the caller rolls back.
        NotEnoughFree: there are not as many points; the caller rolls back.
        RedealNeeded: users would enter or leave, and `redeal` is false; the caller rolls back.
    """
    names = list(dict.fromkeys([*wanted.remove, *wanted.percents, *wanted.add]))
    layer = await _lock(conn, slug)
    locked = await _lock_segments(conn, names)
    _refuse_others((locked[name] for name in wanted.add), layer)
    inside = {name for name in names if locked[name]["layer_id"] == layer.id}
    if outside := {*wanted.remove, *wanted.percents} - inside - {*wanted.add}:
        raise NotInLayer(outside)
    now = after_changes(locked[names[0]]["locked_at"], layer)
    deals: list[Deal | None] = []
    for name in dict.fromkeys(wanted.remove):
        steps = await _steps(conn, locked[name]["id"], now)
        deals.append(await _move(conn, _locked(locked[name], now, layer), None, steps, actor))
    steps_of = {}
    for name in names:
        if name in wanted.percents:
            segment, percent = _locked(locked[name], now, layer), wanted.percents[name]
            steps_of[name] = await changed_steps(conn, segment, percent, wanted.plan)
    growth = {}
    for name in inside & wanted.percents.keys():
        percent, _ = await list_steps(conn, locked[name]["id"], now)
        growth[name] = points.count_of(wanted.percents[name]) - points.count_of(percent)
    for name in sorted(growth, key=lambda name: (growth[name], name)):
        segment = _locked(locked[name], now, layer)
        percent, _ = await list_steps(conn, segment.id, now)
        await set_steps(conn, segment, merged(percent, steps_of[name]), actor)
    for name in dict.fromkeys(wanted.add):
        if name not in inside:
            steps = steps_of.get(name) or await _steps(conn, locked[name]["id"], now)
            deals.append(await _move(conn, _locked(locked[name], now, None), layer, steps, actor))
    await _refuse_deals(conn, slug, deals, redeal=wanted.redeal)


async def delete(conn: Connection, slug: str, *, redeal: bool, actor: str | None) -> None:
    """End the life of a layer; its segments are without one from then on.

    Raises:
        LayerNotLive: no live layer has the slug; nothing was changed.
        RedealNeeded: users would enter or leave, and `redeal` is false; the caller rolls back.
    """
    names = [row["slug"] for row in await conn.fetch(LIST_SEGMENTS, slug)]
    layer = await _lock(conn, slug)
    locked = await conn.fetch(LOCK_SEGMENTS, names)
    deals, now = [], None
    for row in locked:
        now = after_changes(row["locked_at"], layer)
        steps = await _steps(conn, row["id"], now)
        deals.append(await _move(conn, _locked(row, now, layer), None, steps, actor))
    await conn.execute(DELETE, layer.id, now, actor)
    await _refuse_deals(conn, slug, deals, redeal=redeal)


async def list_live(conn: Connection, after: str, limit: int) -> list[ListedLayer]:
    """Return up to `limit` live layers whose slugs sort after `after`, in that order."""
    return [ListedLayer(**row) for row in await conn.fetch(LIST_LIVE, after, limit)]


async def get(conn: Connection, slug: str, at: datetime | None = None) -> DescribedLayer:
    """Return the layer of this slug as of `at`, None for now.

    Raises:
        LayerNotLive: there is none at that time.
    """
    layer = await conn.fetchrow(FIND, slug, at)
    if layer is None:
        raise LayerNotLive(slug)
    rows = await conn.fetch(LIST_SHARES, layer["id"], at)
    shares = [Share(row["slug"], row["percent"], points.of_ranges(row["points"])) for row in rows]
    return DescribedLayer(layer["slug"], layer["salt"], layer["created_at"], shares)


async def count_deals(conn: Connection, refused: RedealNeeded) -> list[tuple[str, Moved]]:
    """Return for each segment that would deal anew how many known users enter and leave."""
    return [
        (deal.slug, await count_moved(conn, deal, refused.neighbours.get(deal.segment_id, [])))
        for deal in refused.deals
    ]


async def _lock(conn: Connection, slug: str) -> Layer:
    row = await conn.fetchrow(LOCK, slug)
    if row is None:
        raise LayerNotLive(slug)
    return Layer(**row)


async def _lock_segments(conn: Connection, names: Sequence[str]) -> dict[str, asyncpg.Record]:
    rows = {row["slug"]: row for row in await conn.fetch(LOCK_SEGMENTS, names)}
    if unknown := set(names) - rows.keys():
        raise SegmentsNotLive(unknown)
    return rows


def _refuse_others(rows: Iterable[asyncpg.Record], layer: Layer | None) -> None:
    """Raise InAnotherLayer if some segments are in a layer, but not in `layer`."""
    own = layer.id if layer else None
    others = {row["slug"]: row["layer"] for row in rows if row["layer_id"] not in {None, own}}
    if others:
        raise InAnotherLayer(others)


async def _steps(conn: Connection, segment_id: int, now: datetime) -> list[Step]:
    percent, plan = await list_steps(conn, segment_id, now)
    return [Step(now, percent), *plan]


def _locked(row: asyncpg.Record, now: datetime, layer: Layer | None) -> Locked:
    return Locked(row["id"], row["slug"], row["ends_at"], now, layer)


async def _move(
    conn: Connection,
    segment: Locked,
    layer: Layer | None,
    steps: Sequence[Step],
    actor: str | None,
) -> Deal | None:
    """Move a locked segment into a layer, or out of its own; return the new deal."""
    if layer is None:
        await conn.execute(LEAVE, segment.id, segment.locked_at, actor)
    else:
        await conn.execute(ENTER, layer.id, segment.id, segment.locked_at, actor)
    return await deal(conn, segment, layer, steps, actor)


async def _refuse_deals(
    conn: Connection, slug: str, deals: Iterable[Deal | None], *, redeal: bool
) -> None:
    """Raise what the request does not allow, or what is too much."""
    ids = [row["id"] for row in await conn.fetch(LIST_SEGMENTS, slug)]
    if len(ids) > MAX_SEGMENTS:
        raise TooManySegments
    if not redeal and (moving := [deal for deal in deals if deal]):
        neighbours = {
            deal.segment_id: [other for other in ids if other != deal.segment_id]
            for deal in moving
            if deal.segment_id in ids
        }
        raise RedealNeeded(moving, neighbours)
