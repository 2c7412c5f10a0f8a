"""The feed: a page of events, waiting for the next one, or all of them as lines of JSON."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from aiohttp import web

from segsvc.api.events import store
from segsvc.api.events.feed import FEED, Feed
from segsvc.api.events.schemas import (
    EVENT,
    EVENT_LINES,
    EVENT_LIST,
    EVENT_PAGE,
    EVENT_PAGE_OF_SEGMENT,
    Start,
    after_header,
)
from segsvc.api.events.store import Event, Position
from segsvc.auth.roles import Role
from segsvc.db.pool import Connection, Unavailable, connection
from segsvc.db.values import Sink
from segsvc.http.app_keys import EXPORTS, POOL
from segsvc.http.fields import MAX_PAGE_SIZE
from segsvc.http.problems import Busy, EventsGone, SegmentNotFound
from segsvc.http.requests import read_query, read_slug, refusal
from segsvc.http.responses import list_response
from segsvc.http.routes import Routes
from segsvc.http.streams import accepts, stream
from segsvc.http.threads import in_thread

ROUTES = Routes("events", "The feed: who entered and left which segment, in order, to be followed")


class _Asked(NamedTuple):
    """What a client wants to follow, from where; `lives`: of some slugs, None for all segments."""

    lives: list[store.Life] | None
    after: Position | Start
    limit: int
    wait: int

    @property
    def slugs(self) -> set[str] | None:
        """The slugs of the segments, None for all."""
        return None if self.lives is None else {life.slug for life in self.lives}

    def start(self, feed: Feed, horizon: datetime) -> Position:
        """Return the position to begin at."""
        match self.after:
            case Start.NOW:
                return Position(horizon)
            case Start.OLDEST:
                # Before they were created, there are no events of them.
                created = (Position(life.created_at) for life in self.lives or ())
                first = min(created, default=feed.oldest)
                return max(feed.oldest, min(first, Position(horizon)))
        return self.after


@ROUTES.get(
    "/events",
    role=Role.FOLLOWER,
    query=EVENT_PAGE,
    answers=(EVENT_LIST, EVENT_LINES),
    problems=(EventsGone, Busy),
)
async def list_events(request: web.Request) -> web.StreamResponse:
    """List who entered and left segments, after a cursor: a page, or all up to now as NDJSON."""
    query = read_query(request, EVENT_PAGE)
    slugs = query.pop("segment")
    lives = await _lives(request, slugs) if slugs else None
    if lives is not None and (unknown := set(slugs) - {life.slug for life in lives}):
        slug = ", ".join(sorted(unknown))
        raise refusal(f"no segment has or had the slug {slug}", ("segment",))
    return await _answer(request, _Asked(lives, **query))


@ROUTES.get(
    "/segments/{slug}/events",
    role=Role.FOLLOWER,
    query=EVENT_PAGE_OF_SEGMENT,
    answers=(EVENT_LIST, EVENT_LINES),
    problems=(SegmentNotFound, EventsGone, Busy),
)
async def list_segment_events(request: web.Request) -> web.StreamResponse:
    """List who entered and left a segment, also one that is deleted."""
    slug = read_slug(request)
    query = read_query(request, EVENT_PAGE_OF_SEGMENT)
    lives = await _lives(request, [slug])
    if not lives:
        raise SegmentNotFound(slug)
    return await _answer(request, _Asked(lives, **query))


async def _lives(request: web.Request, slugs: list[str]) -> list[store.Life]:
    """Return all segments that have or had some slugs."""
    async with connection(request.app[POOL]) as conn:
        return await store.list_lives(conn, slugs)


async def _answer(request: web.Request, asked: _Asked) -> web.StreamResponse:
    try:
        return await _respond(request, asked)
    except store.Pruned as error:
        (kept_from,) = error.args
        if isinstance(asked.after, Position):
            raise EventsGone(kept_from) from None
        # The feed learns it with the next horizon.
        return await _respond(request, asked._replace(after=Position(kept_from)))


async def _respond(request: web.Request, asked: _Asked) -> web.StreamResponse:
    if accepts(request, "Accept", EVENT_LINES.media_type):
        return await _stream(request, asked)
    answer = await _wait(request, asked)
    return await list_response(EVENT_LIST, answer, len(answer["events"]), {"Vary": "Accept"})


async def _wait(request: web.Request, asked: _Asked) -> Mapping[str, Any]:
    """Return a page with an event, or without one when the time to wait is over."""
    feed = request.app[FEED]
    loop = asyncio.get_running_loop()
    until = loop.time() + asked.wait
    horizon = await feed.horizon()
    position = asked.start(feed, horizon)
    while True:
        events: list[Event] = []
        if feed.is_quiet(position):
            position = max(position, Position(horizon))
        else:
            async with connection(request.app[POOL]) as conn:
                events, position = await store.list_page(
                    conn, position, horizon, asked.limit, asked.slugs
                )
        more = position.at < horizon
        left = until - loop.time()
        if events or left <= 0 or feed.stopped:
            return {"events": events, "next": position, "horizon": horizon, "more": more}
        if not more:
            await feed.pause(left)
            horizon = await feed.horizon()


async def _stream(request: web.Request, asked: _Asked) -> web.StreamResponse:
    """Answer with all events up to the horizon, one a line."""
    feed = request.app[FEED]
    horizon = await feed.horizon()
    after = asked.start(feed, horizon)

    async def produce(conn: Connection, sink: Sink) -> None:
        position = after
        while position.at < horizon:
            start = position
            events, position = await store.list_page(
                conn, start, horizon, MAX_PAGE_SIZE, asked.slugs
            )
            if position == start:
                raise Unavailable("the clock of the database has stepped back")
            if events:
                await sink(await in_thread(_lines, events))

    async with request.app[EXPORTS].open() as conn:
        headers = {"Content-Type": EVENT_LINES.media_type}
        headers |= after_header(max(after, Position(horizon)))
        return await stream(request, conn, headers, lambda sink: produce(conn, sink))


def _lines(events: Iterable[Event]) -> bytes:
    lines = (json.dumps(EVENT.dump(event), ensure_ascii=False) + "\n" for event in events)
    return "".join(lines).encode()
