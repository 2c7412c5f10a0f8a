"""The pages of the console with ten thousand segments and a million members: time and size."""

import time
from statistics import median

from aiohttp import ClientSession
from programs import MILLION, ROUNDS, database, row, service, step

SEGMENTS = MILLION // 100
REQUESTS = 6 * ROUNDS

# A user who is in a hundred segments by hand, beside those by percentage.
MANY = MILLION

# The members: a fifth in one segment, a fifth in four, nearly a third in thirty, and the rest in
# all others, at times of the last 90 days. Every tenth of them was a member before.
LOAD = f"""
    INSERT INTO segment (slug, description, created_at)
    SELECT
        'SEG_' || n,
        CASE n % 4 WHEN 0 THEN '' ELSE
            (ARRAY['Checkout', 'Search', 'Voice messages', 'Delivery', 'Discounts'])[1 + n % 5]
            || ': variant ' || n || ' of what the team shows to some of the users'
        END,
        now() - interval '1 year' + n * interval '1 minute'
    FROM generate_series(1, {SEGMENTS}) AS n;

    INSERT INTO layer (slug, salt, created_at)
    SELECT 'LAYER_' || n, 'LAYER_' || n, now() - interval '300 days'
    FROM generate_series(1, 101) AS n;
    INSERT INTO layer_segment (segment_id, layer_id, valid_from)
    SELECT 101 + n, 1 + n / 5, now() - interval '300 days' FROM generate_series(0, 499) AS n
    UNION ALL
    SELECT n, 101, now() - interval '300 days' FROM unnest(ARRAY[2, 4, 5, 7, 8]) AS n;

    INSERT INTO rollout (
        segment_id, layer_id, percent, salt, points, valid_from, valid_to, planned
    )
    SELECT
        segment.id,
        l.layer_id,
        share.percent,
        coalesce('LAYER_' || l.layer_id, segment.slug),
        int8multirange(
            int8range(share.start, share.start + floor(share.percent * 42949672.96)::bigint)
        ),
        CASE part WHEN 0 THEN segment.created_at + interval '30 days' ELSE planned.at END,
        CASE WHEN part = 0 AND segment.id % 10 = 0 THEN planned.at ELSE 'infinity' END,
        part = 1
    FROM segment
    LEFT JOIN layer_segment AS l ON segment.id = l.segment_id
    CROSS JOIN generate_series(0, 1) AS part
    CROSS JOIN LATERAL (
        SELECT date_trunc('hour', now()) + segment.id * interval '1 hour' AS at
    ) AS planned
    CROSS JOIN LATERAL (
        SELECT
            CASE
                WHEN l.layer_id IS NULL THEN 0
                ELSE (segment.id - 101) % 5 * 858993459
            END AS start,
            CASE
                WHEN l.layer_id IS NULL THEN (ARRAY[1, 5, 10, 20, 50])[1 + segment.id / 3 % 5]
                ELSE 10
            END + part * 10 AS percent
    ) AS share
    WHERE segment.id % 3 = 0 AND (part = 0 OR segment.id % 10 = 0);

    INSERT INTO users (id, first_seen_at)
    SELECT n, now() - n % 365 * interval '1 day' FROM generate_series(1, {MILLION}) AS n;

    INSERT INTO membership (user_id, segment_id, included, valid_from)
    SELECT
        1 + (n * 1009 + k) * 7 % {MILLION}, n, TRUE,
        now() - (n * 104729 + k * 7919) % 7776000 * interval '1 second'
    FROM
        generate_series(1, {SEGMENTS}) AS n,
        generate_series(
            1,
            CASE
                WHEN n = 1 THEN {MILLION // 5}
                WHEN n <= 5 THEN {MILLION // 20}
                WHEN n <= 35 THEN {MILLION // 100}
                ELSE 30
            END
        ) AS k;
    INSERT INTO membership (user_id, segment_id, included, valid_from)
    SELECT {MANY}, 601 + 3 * n, TRUE, now() - n * interval '1 day'
    FROM generate_series(0, 99) AS n
    ON CONFLICT DO NOTHING;
    INSERT INTO membership (user_id, segment_id, included, valid_from, valid_to, removed)
    SELECT
        m.user_id, m.segment_id, TRUE, m.valid_from - interval '60 days',
        m.valid_from - interval '20 days', TRUE
    FROM membership AS m
    WHERE m.user_id % 10 = 0;

    INSERT INTO audit (at, actor, request_id, action, slug, details)
    SELECT
        now() - interval '90 days' + n * interval '20 minutes',
        'key-' || n % 20,
        gen_random_uuid(),
        CASE n % 3 WHEN 0 THEN 'members.add' ELSE 'segment.change' END,
        'SEG_' || 1 + n % 100,
        CASE n % 3
            WHEN 0 THEN '{{"from": "file", "received": 5000, "added": 4000, "removed": 0}}'::json
            ELSE '{{"before": {{"percent": 5}}, "after": {{"percent": 10}}}}'
        END
    FROM generate_series(1, {MILLION // 200}) AS n
"""

PAGES = {
    "segments": "/console/segments",
    "segments, a later page": f"/console/segments?after=SEG_{SEGMENTS // 2}",
    "segments with part of a word": "/console/segments?q=elive",
    "segments with a part that no slug or description has": "/console/segments?q=zzz",
    "the newest segments": "/console/segments?sort=created_at",
    "the largest segments": "/console/segments?sort=members",
    "the largest segments, a later page": "/console/segments?sort=members&after=30,SEG_500",
    "the largest segments with part of a word": "/console/segments?sort=members&q=elive",
    "a segment": f"/console/segments/SEG_{SEGMENTS // 2}",
    "the largest segment": "/console/segments/SEG_1",
    "a segment in a layer": "/console/segments/SEG_4",
    "the size of a segment": f"/console/segments/SEG_{SEGMENTS // 2}/size",
    "the size of the largest segment": "/console/segments/SEG_1/size",
    "an automatic segment of 50 %": "/console/segments/SEG_12",
    "a user in many segments": f"/console/users/{MANY}",
    "layers": "/console/layers",
    "audit log": "/console/audit",
    "audit log of a segment": "/console/audit?slug=SEG_8",
}


async def measure(server: str) -> None:
    """Ask for each page in turn, over and over; the pages are open, because no key exists."""
    dsn = await database(server, "console", LOAD)
    times: dict[str, list[float]] = {name: [] for name in PAGES}
    sizes: dict[str, int] = {}
    with service(dsn, 8190, workers=1) as (url, _):
        async with ClientSession(url) as session:
            step(f"{REQUESTS} rounds of the pages of the console")
            for _ in range(REQUESTS):
                for name, path in PAGES.items():
                    began = time.perf_counter()
                    sizes[name] = await _get(session, path)
                    times[name].append(time.perf_counter() - began)
    for name, taken in times.items():
        figure = f"{median(taken) * 1000:.0f}; {sizes[name] / 1000:.0f}"
        row(f"console, {name}: p50 ms; kB", figure, "150; 100")


async def _get(session: ClientSession, path: str) -> int:
    """Get a page; return its size in bytes."""
    async with session.get(path) as response:
        assert response.ok, path
        return len(await response.read())
