"""The hot read and its statement, at several table sizes."""

from contextlib import ExitStack

from programs import ROUNDS, Load, Row, database, handler, medians, service, wrk

# Each user in 3 of 10 manual segments, and in and out of them `past` times before.
LOAD = """
    INSERT INTO segment (slug, description, created_at)
    SELECT 'SEG_' || n, '', '2020-01-01' FROM generate_series(1, 10 + {automatic}) AS n;
    INSERT INTO rollout (segment_id, percent, salt, points, valid_from)
    SELECT 10 + n, 10, 'SEG_' || (10 + n), rollout_points(10), '2020-01-01'
    FROM generate_series(1, {automatic}) AS n;
    INSERT INTO users (id, first_seen_at)
    SELECT n, '2020-01-01' FROM generate_series(1, {users}) AS n;
    INSERT INTO membership (user_id, segment_id, included, valid_from)
    SELECT u, 1 + (u + 3 * s) % 10, TRUE, '2024-01-01'
    FROM generate_series(1, {users}) AS u, generate_series(0, 2) AS s;
    INSERT INTO membership (user_id, segment_id, included, valid_from, valid_to)
    SELECT
        u, 1 + (u + p) % 10, TRUE,
        timestamptz '2023-01-01' + p * interval '1 day',
        timestamptz '2023-01-01' + p * interval '1 day 1 hour'
    FROM generate_series(1, {users}) AS u, generate_series(1, {past}) AS p
"""

# Three layers of four of the automatic segments, which take 20 % each.
LAYERS = """
    ;
    INSERT INTO layer (slug, salt, created_at)
    SELECT 'LAYER_' || n, 'LAYER_' || n, '2020-01-01' FROM generate_series(1, 3) AS n;
    INSERT INTO layer_segment (segment_id, layer_id, valid_from)
    SELECT 10 + n, 1 + (n - 1) / 4, '2020-01-01' FROM generate_series(1, 12) AS n;
    UPDATE rollout AS r
    SET
        layer_id = l.layer_id,
        percent = 20,
        salt = 'LAYER_' || l.layer_id,
        points = int8multirange(
            int8range((r.segment_id + 1) % 4 * 858993459, ((r.segment_id + 1) % 4 + 1) * 858993459)
        )
    FROM layer_segment AS l
    WHERE r.segment_id = l.segment_id
"""


async def measure(server: str) -> list[Row]:
    hot = await database(server, "hot", LOAD.format(users=100_000, automatic=0, past=0))
    few = await database(server, "few", LOAD.format(users=10_000, automatic=20, past=7))
    apart = LOAD.format(users=100_000, automatic=12, past=0)
    plain = await database(server, "plain", apart)
    layered = await database(server, "layered", apart + LAYERS)
    many = await database(server, "many", LOAD.format(users=1_000_000, automatic=20, past=7))
    with ExitStack() as stack:
        targets = {
            "bare": (stack.enter_context(handler("bare", hot, 8191)), 100_000),
            "one query": (stack.enter_context(handler("one_query", hot, 8192)), 100_000),
            "hot": (stack.enter_context(service(hot, 8193))[0], 100_000),
            "logged": (stack.enter_context(service(hot, 8196, log_level="INFO"))[0], 100_000),
            "plain": (stack.enter_context(service(plain, 8198))[0], 100_000),
            "layered": (stack.enter_context(service(layered, 8199))[0], 100_000),
            "few": (stack.enter_context(service(few, 8194))[0], 10_000),
            "many": (stack.enter_context(service(many, 8195))[0], 1_000_000),
        }
        for url, users in targets.values():  # what is read first is read into memory
            wrk(url, "read.lua", users)
        busy = {
            name: medians(loads)
            for name, loads in rounds(
                targets, ("bare", "one query", "hot", "logged", "plain", "layered", "many"), 64
            ).items()
        }
        alone = {name: medians(x) for name, x in rounds(targets, ("few", "many"), 1).items()}
    names = {
        "bare": "constant answer of a bare aiohttp handler",
        "one query": "one query a request",
        "hot": "hot read, 100 thousand users with 3 of 10 segments",
        "logged": "the same with a line of log for each",
        "plain": "hot read, 12 automatic segments",
        "layered": "the same in 3 layers",
        "many": "the same, a million users, 20 automatic segments, 10 million periods",
    }
    rows = [
        (f"{names[n]}: a second; p50, p99 ms", f"{x.rate:,.0f}; {x.p50:.1f}, {x.p99:.1f}", "")
        for n, x in busy.items()
    ]
    growth = alone["many"].p50 / alone["few"].p50
    return [
        *rows,
        ("hot read to the bare handler", f"{busy['hot'].rate / busy['bare'].rate:.2f}", "0.8"),
        ("3 layers to none", f"{busy['layered'].rate / busy['plain'].rate:.2f}", ""),
        ("hot read to one query", f"{busy['hot'].rate / busy['one query'].rate:.1f}", "2.5"),
        ("million users to the bare handler", f"{busy['many'].rate / busy['bare'].rate:.2f}", ""),
        ("median read alone, 100 thousand periods, ms", f"{alone['few'].p50:.2f}", ""),
        ("the same at 10 million periods, ms", f"{alone['many'].p50:.2f}", ""),
        ("the second to the first", f"{growth:.2f}", "under 1.3"),
    ]


def rounds(
    targets: dict[str, tuple[str, int]], names: tuple[str, ...], connections: int
) -> dict[str, list[Load]]:
    """Load some of the targets in turn, round after round."""
    loads: dict[str, list[Load]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name in names:
            url, users = targets[name]
            loads[name].append(wrk(url, "read.lua", users, connections))
    return loads
