"""The installed package carries its SQL and its page, from a wheel and from a checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from segsvc.db.sql import project_folder
from tests import ROOT


@pytest.mark.slow
def test_wheel_carries_its_files(tmp_path: Path) -> None:
    """A wheel holds each statement, migration and file of the page, and the code finds them."""
    command = ["pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run([sys.executable, "-m", *command], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    for name in ("sql", "migrations"):
        files = [path.relative_to(ROOT) for path in (ROOT / name).rglob("*.sql")]
        assert {f"segsvc/{file}" for file in files} <= names
    code = """
from segsvc import cli
from segsvc.db import migrations
from segsvc.openapi import handlers
print(migrations.known(), migrations.MIGRATIONS)
assert all(path.is_file() for path in (handlers.PAGE, *handlers.FILES.values()))
"""
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "site",
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "0001.segment" in found
    assert str(tmp_path / "site" / "segsvc" / "migrations") in found


def test_checkout_carries_the_sql() -> None:
    """From a checkout the code finds the folders at its top."""
    assert project_folder("sql") == ROOT / "sql"
    assert project_folder("migrations") == ROOT / "migrations"
