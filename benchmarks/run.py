"""Ratios of what the service does to what the same machine does without it.

Starts a PostgreSQL and the service on loopback, fills databases, measures in interleaved rounds,
prints a table of medians, and writes it to RESULTS.md beside this file. Needs curl.
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

import members
import reports

from segsvc import embedded

HERE = Path(__file__).parent


def main() -> None:
    if not shutil.which("curl"):
        sys.exit("the benchmark needs curl: apt-get install curl")
    with (
        tempfile.TemporaryDirectory() as directory,
        embedded.running(Path(directory), exclusive=True) as server,
    ):
        rows = [*asyncio.run(members.measure(server)), *asyncio.run(reports.measure(server))]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, PostgreSQL 18"
    table = "\n".join(f"| {what} | {figure} | {aim} |" for what, figure, aim in rows)
    text = (
        f"# Results of `make bench`\n\n{datetime.now(UTC):%Y-%m-%d}, {machine}, commit {commit};"
        f" medians of interleaved rounds.\n\n| what | figure | aim |\n|---|---|---|\n{table}\n"
    )
    (HERE / "RESULTS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
