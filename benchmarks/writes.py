"""Changes of one user, against pgbench with the same statements in a transaction."""

import os
import re
import subprocess
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import reads
from programs import (
    CONNECTIONS,
    ROUNDS,
    SECONDS,
    WORKERS,
    database,
    medians,
    row,
    step,
    with_key,
    wrk,
)

from segsvc.api.users import store

USERS = 100_000

# Those of the service's sessions.
SETTINGS = "-c jit=off -c plan_cache_mode=force_generic_plan"


def transaction(*, add: bool) -> str:
    """Return the transaction of a change as a script of pgbench, and the read after it."""
    values = {
        "lock": {"$1": "ARRAY[:user]", "$2": "ARRAY['SEG_' || (:number)::text]"},
        "change": {
            "$1": "(:locked_at)",
            "$2": "ARRAY[:user]",
            "$3": "(:ids)",
            "$4": f"ARRAY[{add}]",
            "$5": "ARRAY[NULL]",
            "$6": "ARRAY[NULL]",
            "$7": "ARRAY[NULL]",
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
    """Return the transactions a second, on as many connections as the service has clients."""
    files = [argument for script in scripts for argument in ("-f", str(script))]
    text = subprocess.run(
        [program, "-n", "-M", "prepared", f"-c{CONNECTIONS}", f"-j{WORKERS}",
         f"-T{SECONDS}", *files, dsn],
        env=os.environ | {"PGOPTIONS": SETTINGS}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = re.search(r"tps = ([\d.]+)", text)
    assert found
    return float(found[1])


async def measure(server: str, postmaster: int, program: str) -> None:
    dsn = await database(server, "writes", reads.LOAD.format(users=USERS, automatic=0, past=0))
    ours, theirs = [], []
    with TemporaryDirectory() as folder, with_key(dsn, 8196, USERS) as target:
        scripts = [Path(folder) / name for name in ("add.sql", "remove.sql")]
        for script in scripts:
            script.write_text(transaction(add=script.stem == "add"))
        wrk(target, "write", postmaster)
        for number in range(ROUNDS):
            step(f"round {number + 1} of {ROUNDS}: changes of users, and pgbench")
            theirs.append(pgbench(program, dsn, scripts))
            ours.append(wrk(target, "write", postmaster))
    load = medians(ours)
    row("change of a user: a second; p50, p99 ms; CPU us of Python, PostgreSQL", str(load))
    row("p99 of a change, ms", f"{load.p99:.0f}", "under 40")
    row(
        f"pgbench with the same statements, a transaction each, {CONNECTIONS} connections",
        f"{median(theirs):,.0f}",
    )
    row("the first to the second", f"{load.rate / median(theirs):.2f}", "1.0")
