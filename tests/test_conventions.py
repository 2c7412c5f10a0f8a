"""Conventions of the code that a test can check."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests import ROOT

PACKAGE = sorted((ROOT / "segsvc").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def test_each_test_says_what_holds() -> None:
    """Every test has a docstring of one line."""
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node)
                if node.name.startswith("test_"):
                    assert docstring, f"{path.name}: {node.name} has no docstring"
                    assert "\n" not in docstring, f"{path.name}: {node.name}"


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_sql_in_python(path: Path) -> None:
    """No string in the package is a statement: they are files in sql/."""
    sql = re.compile(
        r"\s*(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|WITH \w+ AS|COPY|SET|BEGIN|LOCK)\s"
    )
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not sql.match(node.value), f"{path}:{node.lineno}"


def test_no_catch_all_modules() -> None:
    """No module is named for nothing in particular."""
    for path in PACKAGE:
        assert path.stem not in {"utils", "helpers", "common", "manager", "base"}


def test_plain_words() -> None:
    """No file uses an archaism or a metaphor that readers had to look up."""
    words = "whoever|whatever|likewise|begun|bears|stands|desk|patience"
    command = ["git", "grep", "-nwiE", words, "--", ".", ":!tests/test_conventions.py"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stdout == ""
    assert found.returncode == 1, found.stderr
