"""The installed package carries its SQL and its page, from a wheel and from a checkout."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from segsvc.db import migrations
from segsvc.db.sql import project_folder
from segsvc.settings import PUBLISHED_SECRET
from tests import ROOT
from tests.processes import run, serving


@pytest.mark.slow
def test_wheel_carries_its_files(tmp_path: Path) -> None:
    """A wheel holds each module, statement, migration and file of the page; the code finds them."""
    # From a copy: setuptools would add the files that an earlier build left in build/.
    source = tmp_path / "source"
    for name in ("segsvc", "sql", "migrations"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = ["pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run([sys.executable, "-m", *command], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "segsvc").rglob("*.py")}
    assert {file for file in names if file.endswith(".py")} == modules
    for name in ("sql", "migrations"):
        files = {f"segsvc/{path.relative_to(ROOT)}" for path in (ROOT / name).rglob("*.sql")}
        assert {file for file in names if file.startswith(f"segsvc/{name}/")} == files
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
    assert str(migrations.known()) in found
    assert str(tmp_path / "site" / "segsvc" / "migrations") in found


def test_compose_is_confined() -> None:
    """No container has rights of root, writes outside of volumes, or takes all memory."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"], name
        assert service["mem_limit"], name


@pytest.mark.slow
def test_published_secret_is_refused_with_keys(dsn: str) -> None:
    """With the secret of docker-compose.yml, no key is created, and none is served."""
    assert f"${{SEGSVC_SECRET:-{PUBLISHED_SECRET}}}" in (ROOT / "docker-compose.yml").read_text()
    create = ("keys", "create", "ann", "--role", "editor")
    refused = run(*create, database_url=dsn, secret=PUBLISHED_SECRET)
    assert refused.returncode == 1
    assert "set another first" in refused.stderr
    with serving(database_url=dsn, secret=PUBLISHED_SECRET):
        pass
    assert run(*create, database_url=dsn).returncode == 0
    refused = run("serve", database_url=dsn, secret=PUBLISHED_SECRET)
    assert refused.returncode == 1
    assert "set another first" in refused.stderr


def test_checkout_carries_the_sql() -> None:
    """From a checkout the code finds the folders at its top."""
    assert project_folder("sql") == ROOT / "sql"
    assert project_folder("migrations") == ROOT / "migrations"
