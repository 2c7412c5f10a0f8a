"""Ratios of what the service does to what the same machine does without it.

Starts a PostgreSQL and services on loopback, fills databases, measures in interleaved rounds,
prints each median when it is known, and writes all to RESULTS.md beside this file, with PROFILE.md
after it. With QUICK=1 it takes two minutes on small data, and writes nothing.
"""

import asyncio
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import console
import feed
import members
import reads
import reports
import tails
import writes
from programs import HERE, QUICK, ROWS

from segsvc.db import embedded

# The program, the Debian package that has it, and where that puts it out of the PATH.
NEEDED = {
    "curl": ("curl", ""),
    "wrk": ("wrk", ""),
    "pgbench": ("postgresql-15", "/usr/lib/postgresql/15/bin"),
}

# What is stored fits into memory, as it would on a server of this size: the growth of the cost is
# measured, and not the size of the cache.
CONFIGURATION = {**embedded.CONFIGURATION, "shared_buffers": "2GB", "max_wal_size": "8GB"}


def programs() -> dict[str, str]:
    """Return where the programs are that are needed, or say how to get them, and stop."""
    path = os.environ["PATH"]
    found = {
        name: shutil.which(name, path=f"{path}:{folder}") for name, (_, folder) in NEEDED.items()
    }
    missing = [NEEDED[name][0] for name, where in found.items() if not where]
    if missing:
        sys.exit(f"the benchmark needs: apt-get install {' '.join(missing)}")
    return {name: where for name, where in found.items() if where}


async def measure(server: str, postmaster: int, pgbench: str) -> None:
    """Run everything; each part prints its figures and keeps them."""
    await reads.measure(server, postmaster)
    await writes.measure(server, postmaster, pgbench)
    await tails.measure(server, postmaster)
    await feed.measure(server, postmaster)
    await members.measure(server)
    await console.measure(server)
    await reports.measure(server)


def processor() -> str:
    """Return the name of the processor, as far as the system tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    pgbench = programs()["pgbench"]
    with (
        tempfile.TemporaryDirectory() as directory,
        embedded.running(Path(directory), exclusive=True, configuration=CONFIGURATION) as server,
    ):
        (pid_file,) = Path(directory).rglob("postmaster.pid")
        postmaster = int(pid_file.read_text().splitlines()[0])
        asyncio.run(measure(server, postmaster, pgbench))
    if QUICK:
        return
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    machine = (
        f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, PostgreSQL 18"
    )
    table = "\n".join(f"| {what} | {figure} | {aim} |" for what, figure, aim in ROWS)
    text = (
        f"# Results of `make bench`\n\n{datetime.now(UTC):%Y-%m-%d}, {machine}, commit {commit};"
        f" medians of interleaved rounds.\n\n| what | figure | aim |\n|---|---|---|\n{table}\n"
    )
    (HERE / "RESULTS.md").write_text(text + "\n" + (HERE / "PROFILE.md").read_text())


if __name__ == "__main__":
    main()
