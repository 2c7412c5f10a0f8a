"""Changes of one user, against pgbench with the same statements in a transaction."""

import os
import re
import subprocess
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import reads
from programs import ROUNDS, SECONDS, WORKERS, Row, database, medians, service, wrk

from segsvc.api.users import store

USERS = 100_000
POOL = 10  # connections of a worker


def transaction(*, add: bool) -> str:
    """Return the transaction of a change as a script of pgbench, and the read after it."""
    ids, none = "(:ids)", "('{}')"
    values = {
        "lock": {"$1": ":user", "$2": "ARRAY['SEG_' || (:number)::text]"},
        "change": {
            "$1": ":user",
            "$2": "(:locked_at)",
            "$3": ids if add else none,
            "$4": "ARRAY[NULL]" if add else none,
            "$5": none if add else ids,
        },
        "list": {"$1": "ARRAY[:user]", "$2": "NULL"},
    }
    texts = {"lock": store.LOCK, "change": store.CHANGE, "list": store.LIST_AT}
    for name, literals in values.items():
        text = re.sub(r"--.*", "", texts[name]).strip()
        for parameter, literal in literals.items():
            text = text.replace(parameter, literal)
        texts[name] = re.sub(r"\s+", " ", text)
    return "\n".join(
        [
            f"\\set user random(1, {USERS})",
            "\\set number random(1, 10)",
            "BEGIN;",
            f"{texts['lock']} \\gset",
            f"{texts['change']};",
            "COMMIT;",
            f"{texts['list']};",
        ]
    )


def pgbench(program: str, dsn: str, scripts: list[Path]) -> float:
    """Return the transactions a second on as many connections as the service has."""
    files = [argument for script in scripts for argument in ("-f", str(script))]
    text = subprocess.run(
        [program, "-n", "-M", "prepared", f"-c{POOL * WORKERS}", f"-j{WORKERS}",
         f"-T{SECONDS}", *files, dsn],
        env=os.environ, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = re.search(r"tps = ([\d.]+)", text)
    assert found
    return float(found[1])


async def measure(server: str, program: str) -> list[Row]:
    dsn = await database(server, "writes", reads.LOAD.format(users=USERS, automatic=0, past=0))
    ours, theirs = [], []
    with TemporaryDirectory() as folder, service(dsn, 8196) as (url, _):
        scripts = [Path(folder) / name for name in ("add.sql", "remove.sql")]
        for script in scripts:
            script.write_text(transaction(add=script.stem == "add"))
        wrk(url, "write.lua", USERS)
        for _ in range(ROUNDS):
            theirs.append(pgbench(program, dsn, scripts))
            ours.append(wrk(url, "write.lua", USERS))
    load = medians(ours)
    return [
        ("change of a user: a second; p50, p99 ms",
         f"{load.rate:,.0f}; {load.p50:.1f}, {load.p99:.1f}", ""),
        ("pgbench with the same statements, a second", f"{median(theirs):,.0f}", ""),
        ("the first to the second", f"{load.rate / median(theirs):.2f}", "0.6"),
    ]  # fmt: skip
