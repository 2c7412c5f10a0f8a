"""The hot read and its statement, at several table sizes."""

from contextlib import ExitStack

from programs import (
    CONNECTIONS,
    MILLION,
    ROUNDS,
    Load,
    Target,
    database,
    handler,
    medians,
    row,
    step,
    with_key,
    wrk,
)

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


NAMES = {
    "bare": "bare aiohttp handler, a constant",
    "minimal": "minimal handler: the same statement in the same batches",
    "hot": "hot read, 100 thousand users with 3 of 10 segments, keys and metrics on",
    "logged": "the same with a line of log for each",
    "evaluation": "one OpenFeature evaluation",
    "plain": "hot read, 12 automatic segments",
    "layered": "the same in 3 layers",
    "many": "hot read, a million users, 20 automatic segments, 10 million periods",
}


async def measure(server: str, postmaster: int) -> None:
    users = MILLION // 10
    hot = await database(server, "hot", LOAD.format(users=users, automatic=0, past=0))
    few = await database(server, "few", LOAD.format(users=MILLION // 100, automatic=20, past=7))
    apart = LOAD.format(users=users, automatic=12, past=0)
    plain = await database(server, "plain", apart)
    layered = await database(server, "layered", apart + LAYERS)
    many = await database(server, "many", LOAD.format(users=MILLION, automatic=20, past=7))
    with ExitStack() as stack:
        start = stack.enter_context
        step("starting the services")
        targets = {
            "bare": start(handler("bare", hot, 8191, users)),
            "minimal": start(handler("minimal", hot, 8192, users)),
            "hot": start(with_key(hot, 8193, users)),
            "logged": start(with_key(hot, 8196, users, "INFO")),
            "plain": start(with_key(plain, 8198, users)),
            "layered": start(with_key(layered, 8199, users)),
            "few": start(with_key(few, 8194, MILLION // 100)),
            "many": start(with_key(many, 8195, MILLION)),
        }
        targets["evaluation"] = targets["hot"]
        for target in targets.values():  # what is read first is read into memory
            wrk(target, "read", postmaster)
        busy = loaded(targets, tuple(NAMES), postmaster)
        for name, what in NAMES.items():
            row(f"{what}: a second; p50, p99 ms; CPU us of Python, PostgreSQL", str(busy[name]))
        rates = {name: load.rate for name, load in busy.items()}
        row("hot read to the minimal handler", f"{rates['hot'] / rates['minimal']:.2f}", "0.9")
        beyond = busy["hot"].python - busy["minimal"].python
        row("CPU us of Python in a hot read beyond the minimal handler", f"{beyond:.0f}", "25")
        row("hot read to the bare handler", f"{rates['hot'] / rates['bare']:.2f}", "0.55")
        row("evaluation to the hot read", f"{rates['evaluation'] / rates['hot']:.2f}", "0.75")
        row("3 layers to none", f"{rates['layered'] / rates['plain']:.2f}")
        alone = loaded(targets, ("few", "many"), postmaster, connections=1)
    row("median read alone, 100 thousand periods, ms", f"{alone['few'].p50:.2f}")
    row("the same at 10 million periods, ms", f"{alone['many'].p50:.2f}")
    growth = alone["many"].p50 / alone["few"].p50
    row("the second to the first", f"{growth:.2f}", "under 1.3")


def loaded(
    targets: dict[str, Target],
    names: tuple[str, ...],
    postmaster: int,
    connections: int = CONNECTIONS,
) -> dict[str, Load]:
    """Load some of the targets in turn, round after round; return the medians."""
    loads: dict[str, list[Load]] = {name: [] for name in names}
    for number in range(ROUNDS):
        step(f"round {number + 1} of {ROUNDS}, {connections} connections: {', '.join(names)}")
        for name in names:
            kind = "evaluate" if name == "evaluation" else "read"
            loads[name].append(wrk(targets[name], kind, postmaster, connections))
    return {name: medians(found) for name, found in loads.items()}
