"""The help of the command line: what it says, and what it imports."""

import subprocess
import sys

import click
import pytest

from segsvc.cli import COMMANDS, main
from tests.processes import run

# What a help text does not need. Importing these takes most of the time of a short command.
HEAVY = (
    "aiohttp", "asyncpg", "marshmallow", "prometheus_client", "psycopg", "uvloop", "yoyo",
    "segsvc.app",
)  # fmt: skip


@pytest.mark.parametrize("arguments", [[], ["segments"], ["members", "add"], ["user"]], ids=str)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """The help of the whole and of the commands over HTTP imports only click and the command."""
    program = f"""
import sys
from segsvc.cli import main
main([*{arguments!r}, "--help"], standalone_mode=False)
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_table_of_commands(name: str) -> None:
    """Each command in the table exists, and its help begins with the line in the table."""
    command = main.get_command(click.Context(main), name)
    assert command
    assert (command.help or "").splitlines()[0] == COMMANDS[name]


def test_unknown_command() -> None:
    """A misspelt command is a usage error that names it."""
    ended = run("segment")
    assert (ended.returncode, "No such command 'segment'" in ended.stderr) == (2, True)
