"""The command line: one module a command, imported when the command is used."""

from importlib import import_module

import click

from segsvc import __version__

# Modules of this package by the names of their commands, with a line of help. A table, so that
# `segsvc --help` imports none of them.
COMMANDS = {
    "segments": "Create, list, change and delete segments.",
    "layers": "Keep segments apart: a user is in at most one segment of a layer.",
    "members": "Add, remove, replace and list the users of a segment, up to millions in one file.",
    "user": "Show the segments of a user, why, what is planned and the history, or erase the user.",
    "events": "Show who entered and left segments, in order, and follow it.",
    "audit": "Show who changed segments, layers and keys, from what to what.",
    "serve": "Serve HTTP until SIGINT or SIGTERM.",
    "migrate": "Bring the database schema to this version.",
    "keys": "Create, list and revoke API keys.",
    "report": "Write the report of MONTH as CSV: user_id;slug;add or remove;time.",
    "prune": "Delete the periods, rollouts and segments that ended before a month.",
    "relist": "Let all who follow the feed list the members again, after a restored backup.",
    "check": "Look for broken invariants in the whole database.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"{__name__}.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Tell a product which segments a user is in.

    \b
    For analysts, over HTTP to the service at SEGSVC_URL (http://127.0.0.1:8080):
      segsvc segments create VOICE_MESSAGES --percent 10
      segsvc members add VOICE_MESSAGES users.csv
      segsvc user 1000

    They send the API key in SEGSVC_KEY, if the service needs one.

    For operators: serve, migrate, keys, report, prune, relist and check work on the database of
    SEGSVC_DATABASE_URL, by default on an embedded PostgreSQL with its files in SEGSVC_DATA_DIR.
    The service listens at SEGSVC_HOST and SEGSVC_PORT.

    Exit status: 0 done; 1 refused, nothing was changed; 2 wrong usage; 3 the service is away or
    busy, or a report is not complete yet, and trying again is safe.
    """  # noqa: D301 (click reads the backspace)
