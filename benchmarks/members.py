"""A million users put into a segment, and listed."""

import json
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

from programs import MILLION, ROUNDS, curl, database, peak_memory, psql, row, seconds, service, step

from segsvc.api.members.store import LIST

LOAD = """
    INSERT INTO segment (slug, description, created_at) VALUES ('A', '', '2024-01-01');
    CREATE TABLE bare (LIKE membership INCLUDING ALL);
"""


async def measure(server: str) -> None:
    """Import into an empty segment each time, then list the last import, over and over."""
    dsn = await database(server, "members", LOAD)
    with (
        tempfile.TemporaryDirectory() as folder,
        service(dsn, 8190, workers=1) as (
            url,
            pid,
        ),
    ):
        before = peak_memory(pid)
        for order, factor in (("in no order", 7_368_787), ("in their order", 1)):
            ids, whole = files(Path(folder), factor)
            ours, bare = [], []
            for number in range(ROUNDS):
                step(f"round {number + 1} of {ROUNDS}: a million ids {order}")
                psql(dsn, "TRUNCATE bare, membership, users", "CHECKPOINT")
                copy = f"\\copy bare FROM '{whole}' (FORMAT csv)"
                bare.append(seconds(partial(psql, dsn, copy)))
                ours.append(seconds(partial(add, url, ids)))
            row(f"a million ids {order} added, seconds", f"{median(ours):.1f}")
            row("the same, to COPY of the rows", f"{median(bare) / median(ours):.2f}", "0.4")
            if factor == 1:
                replacements(dsn, url, Path(folder), median(ours))
        after = peak_memory(pid)
        step("the same ids again")
        again = [seconds(lambda: add(url, ids)) for _ in range(ROUNDS)]
        psql(dsn, "VACUUM ANALYZE")
        row("the same again, all unchanged, seconds", f"{median(again):.1f}")
        row("peak memory before and after, MB", f"{before:.0f}, {after:.0f}", "+ under 50")
        listing(dsn, url)
        layers(dsn, url)
        sizes(dsn, url)


def files(folder: Path, factor: int) -> tuple[Path, Path]:
    """Write a million ids, each once, and the rows that they become."""
    ids, whole = folder / "ids.csv", folder / "rows.csv"
    user_ids = [1 + n * factor % 10_000_019 for n in range(MILLION)]
    ids.write_text("".join(f"{user_id}\n" for user_id in user_ids))
    rest = "1,true,2024-01-01,infinity,false,,,false,false"
    whole.write_text("".join(f"{user_id},{rest}\n" for user_id in user_ids))
    return ids, whole


def add(url: str, ids: Path) -> None:
    """Import, and see that all was received."""
    command = ["curl", "-sf", "-H", "Content-Type: text/csv", "--data-binary", f"@{ids}"]
    done = subprocess.run(
        [*command, f"{url}/api/v1/segments/A/members/add"], check=True, capture_output=True
    )
    assert json.loads(done.stdout)["received"] == MILLION


def replacements(dsn: str, url: str, folder: Path, import_seconds: float) -> None:
    """A million members replaced by a million, half of them the same; and dry runs."""
    halves = [folder / "early.csv", folder / "late.csv"]
    for path, first in zip(halves, (1, 1 + MILLION // 2), strict=True):
        path.write_text("".join(f"{user_id}\n" for user_id in range(first, first + MILLION)))
    members = f"{url}/api/v1/segments/A/members"
    csv = ("-H", "Content-Type: text/csv")
    dry, replaced = [], []
    for number in range(ROUNDS):
        step(f"round {number + 1} of {ROUNDS}: a million replaced by a million")
        file = f"@{halves[(number + 1) % 2]}"
        put = partial(curl, "-X", "PUT", *csv, "--data-binary", file)
        dry.append(seconds(partial(put, f"{members}?dry_run=true")))
        replaced.append(seconds(partial(put, members)))
        psql(dsn, "DELETE FROM membership WHERE NOT included OR valid_to < 'infinity'", "VACUUM")
    ratio = median(replaced) / import_seconds
    row("a million replaced by a million, half the same, to the import", f"{ratio:.2f}")
    row("the same as a dry run, seconds", f"{median(dry):.1f}")


def listing(dsn: str, url: str) -> None:
    """A million members as CSV through HTTP, against psql with the same statement."""
    query = LIST
    for number, literal in enumerate(("1", "0", "NULL", "NULL", "NULL"), start=1):
        query = query.replace(f"${number}", literal)
    copy = f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)"
    address = f"{url}/api/v1/segments/A/members"
    ours, bare, count = [], [], []
    for _ in range(ROUNDS):
        bare.append(seconds(lambda: psql(dsn, copy)))
        ours.append(seconds(lambda: curl("-H", "Accept: text/csv", address)))
        count.append(seconds(lambda: curl(f"{url}/api/v1/segments/A")))
    row("a million members listed as CSV, seconds", f"{median(ours):.1f}")
    row("the same, to psql's COPY", f"{median(bare) / median(ours):.2f}", "0.8")
    row("a segment of a million described, ms", f"{median(count) * 1000:.0f}")


def layers(dsn: str, url: str) -> None:
    """A layer formed over two segments with the same million members."""
    psql(
        dsn,
        "INSERT INTO segment (slug, description, created_at) VALUES ('B', '', '2024-01-01')",
        "INSERT INTO membership (user_id, segment_id, included, valid_from)"
        " SELECT user_id, 2, TRUE, '2024-01-02' FROM membership WHERE segment_id = 1",
        "VACUUM ANALYZE",
    )
    overlap = json.dumps({"from": {"all_of": ["A", "B"]}})
    path = f"{url}/api/v1/segments/A/members/add?dry_run=true"
    count = partial(curl, "-H", "Content-Type: application/json", "-d", overlap, path)
    counted = [seconds(count) for _ in range(ROUNDS)]
    row("the overlap of two segments of a million, seconds", f"{median(counted):.1f}")
    body = json.dumps({"slug": "L", "segments": ["A", "B"]})
    form = partial(curl, "-H", "Content-Type: application/json", "-d", body, f"{url}/api/v1/layers")
    formed = []
    for _ in range(ROUNDS):
        formed.append(seconds(form))
        curl("-X", "DELETE", f"{url}/api/v1/layers/L")
    row(
        "a layer formed over two segments of a million members, ms, curl included",
        f"{median(formed) * 1000:.0f}",
    )


def sizes(dsn: str, url: str) -> None:
    """The size of a segment of a million members in a year of a million events."""
    psql(
        dsn,
        "INSERT INTO segment (slug, description, created_at) VALUES ('S', '', '2024-01-01')",
        "INSERT INTO membership (user_id, segment_id, included, valid_from)"
        " SELECT n, currval('segment_id_seq'), TRUE, now() - n * interval '31.5 seconds'"
        f" FROM generate_series(1, {MILLION}) AS n",
        "VACUUM ANALYZE",
    )
    start = f"{datetime.now(UTC) - timedelta(days=364):%Y-%m-%dT00:00:00Z}"
    ask = partial(curl, f"{url}/api/v1/segments/S/stats?from={start}")
    asked = [seconds(ask) for _ in range(ROUNDS)]
    row("the size in 365 days, a million members and events, seconds", f"{median(asked):.1f}")
