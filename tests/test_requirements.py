"""What the image is made of is pinned by hash, as setup.cfg wants it, and audited."""

import json
import os
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests import ROOT


def pinned(lock: str) -> dict[str, tuple[str, str]]:
    """Return the version of each package and the lines below it: hashes and dependents."""
    text = (ROOT / "requirements" / lock).read_text()
    entries = re.findall(r"^([\w-]+)==(\S+)(.*\n(?: .*\n)+)", text, re.MULTILINE)
    assert len(entries) == len(re.findall(r"^[^# \n]", text, re.MULTILINE))
    return {name: (version, below) for name, version, below in entries}


def wanted() -> dict[str, list[Requirement]]:
    """Return for each lock what it is made from."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sources = {
        "run.txt": config["options"]["install_requires"].split("\n"),
        "build.txt": project["build-system"]["requires"],
    }
    return {lock: [Requirement(line) for line in lines if line] for lock, lines in sources.items()}


@pytest.mark.parametrize("lock", ["run.txt", "build.txt"])
def test_lock_is_of_these_requirements(lock: str) -> None:
    """Each requirement is pinned to a version that it allows; if not, `make lock` is due."""
    versions = {name: version for name, (version, _) in pinned(lock).items()}
    for requirement in wanted()[lock]:
        assert requirement.specifier.contains(versions[requirement.name]), "run make lock"


def test_nothing_else_is_in_the_lock() -> None:
    """What is said to be there for the project is what the project requires."""
    direct = {name for name, (_, below) in pinned("run.txt").items() if "segsvc" in below}
    assert direct == {requirement.name for requirement in wanted()["run.txt"]}, "run make lock"


@pytest.mark.parametrize("lock", ["run.txt", "build.txt"])
def test_everything_is_pinned_by_hash(lock: str) -> None:
    """Every package has hashes, and none has an address to be fetched from."""
    assert all("--hash=sha256:" in below for _, below in pinned(lock).values())
    assert "://" not in (ROOT / "requirements" / lock).read_text()


AUDITED = {"name": "a", "version": "1", "vulns": []}
VULNERABLE = {"name": "b", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
SKIPPED = {"name": "c", "skip_reason": "not known there"}


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        ([AUDITED], 0, "1 packages audited, 0 vulnerabilities"),
        ([AUDITED, VULNERABLE, SKIPPED], 1, "b 1: CVE-1"),
        ([AUDITED, SKIPPED], 0, "THE AUDIT DID NOT HAPPEN for 1"),
        (None, 0, "THE AUDIT DID NOT HAPPEN: "),
    ],
)
def test_audit(tmp_path: Path, packages: list[Any] | None, status: int, said: str) -> None:
    """A known vulnerability fails the audit; an audit that could not be made is told as such."""
    auditor = tmp_path / "pip-audit"
    answer = json.dumps({"dependencies": packages})
    auditor.write_text(f"""#!{sys.executable}
import pathlib, sys
if {packages is not None}:
    pathlib.Path(sys.argv[sys.argv.index("--output") + 1]).write_text({answer!r})
sys.exit(1)
""")
    auditor.chmod(0o755)
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit.py", "lock"],
        env=os.environ | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert said in done.stdout
