"""The examples against a running service."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests import ROOT
from tests.processes import environment, serving


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serving(data_dir=str(tmp_path / "data")) as (url, _):
        yield url


def run(url: str, name: str, *arguments: str) -> str:
    """Run an example to its end and return what it prints."""
    ended = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *arguments],
        env=environment(url=url) | {"NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_examples(url: str, tmp_path: Path) -> None:
    """An analyst starts an experiment, a backend asks about users, a CRM follows the members."""
    testers = tmp_path / "testers.csv"
    testers.write_text("user_id\n1000\n1001\n1002\n")
    started = run(url, "experiment.py", "CHECKOUT_V2", "0", str(testers)).splitlines()
    assert started[:2] == [
        "3 users added, 0 were in by hand already",
        "3 users are in by hand, and 0 % of all users automatically",
    ]
    with urlopen(started[2].removeprefix("report: ")) as report:  # noqa: S310 (our own address)
        assert len(report.read().splitlines()) == 3
    again = run(url, "experiment.py", "CHECKOUT_V2", "0", str(testers))
    assert again.startswith("0 users added, 3 were in")

    assert run(url, "backend.py", "1000", "CHECKOUT_V2") == "user 1000 is in CHECKOUT_V2\n"
    assert run(url, "backend.py", "7", "CHECKOUT_V2") == "user 7 is not in CHECKOUT_V2\n"

    crm = tmp_path / "crm.txt"
    crm.write_text("7\n1000\n1001\n")
    assert run(url, "crm_sync.py", "CHECKOUT_V2", str(crm)).splitlines() == [
        "add 1002",
        "remove 7",
        "1 to add, 1 to remove, 2 unchanged",
    ]
