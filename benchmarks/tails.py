"""Tails: reads beside a file, a report and a new percentage, and changes beside a file."""

import json
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import reads
import reports
from programs import MILLION, Load, curl, database, row, step, with_key, wrk

# What the read load needs, then a month for the report.
LOAD = (
    reads.LOAD.format(users=MILLION, automatic=0, past=0)
    + """
    ;
    INSERT INTO segment (slug, description, created_at) VALUES ('FILE', '', '2020-01-01');
    INSERT INTO membership (user_id, segment_id, included, valid_from, valid_to)
    SELECT n, 10, TRUE, timestamptz '2024-02-02' + n * interval '1 ms', '2024-02-12'
    FROM generate_series(1, {events}) AS n
"""
)


async def measure(server: str, postmaster: int) -> None:
    dsn = await database(server, "tails", LOAD.format(events=MILLION // 4))
    with tempfile.TemporaryDirectory() as folder, with_key(dsn, 8197, MILLION) as target:
        ids = Path(folder) / "ids.csv"
        ids.write_text("".join(f"{n}\n" for n in range(1, MILLION + 1)))
        key = ("-H", f"Authorization: Bearer {target.key}")
        api = f"{target.url}/api/v1"
        csv = (*key, "-H", "Content-Type: text/csv", "--data-binary", f"@{ids}")
        sent = (*key, "-H", "Content-Type: application/json")
        percent = json.dumps({"slug": "TEN", "percent": 10})

        def change_file() -> None:
            curl(*csv, f"{api}/segments/FILE/members/add")
            curl(*csv, f"{api}/segments/FILE/members/remove")

        def change_much() -> None:
            change_file()
            curl(*sent, "-d", percent, f"{api}/segments")
            curl(*key, "-H", "Accept: text/csv", f"{api}/segments/TEN/members")
            curl(reports.link(target.url, target.key))
            curl(*key, "-X", "DELETE", f"{api}/segments/TEN")

        load = partial(wrk, target, postmaster=postmaster)
        for kind in ("read", "write"):
            load(kind)
        alone = load("read")
        step("reads beside a file, a new percentage and a report")
        beside = while_running(change_much, partial(load, "read"))
        row("p99 of reads alone, ms", f"{alone.p99:.0f}")
        row("the same beside a file, a percentage and a report", f"{beside.p99:.0f}")
        row("the second to the first", f"{beside.p99 / alone.p99:.1f}", "under 3")
        step("changes beside a file of the same users")
        changes = while_running(change_file, partial(load, "write"))
        row("p99 of changes in other segments beside a file, ms", f"{changes.p99:.0f}", "1000")


def while_running(work: Callable[[], None], measured: Callable[[], Load]) -> Load:
    """Return the load with the worst p99 among those that are measured while `work` runs."""
    with ThreadPoolExecutor(1) as thread:
        under_way = thread.submit(work)
        loads = [measured()]
        while not under_way.done():
            loads.append(measured())
        under_way.result()
    return max(loads, key=lambda load: load.p99)
