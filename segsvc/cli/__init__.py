"""The command line."""

import click

from segsvc import __version__
from segsvc.cli.check import check
from segsvc.cli.keys import keys
from segsvc.cli.members import members
from segsvc.cli.report import prune, report
from segsvc.cli.segments import segments
from segsvc.cli.server import migrate, serve
from segsvc.cli.user import user


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Tell a product which segments a user is in.

    \b
    For analysts, over HTTP to the service at SEGSVC_URL (http://127.0.0.1:8080):
      segsvc segments create VOICE_MESSAGES --percent 10
      segsvc members add VOICE_MESSAGES users.csv
      segsvc user 1000

    They bear the key in SEGSVC_KEY, if the service wants one.

    For operators: serve, migrate, keys, report, prune and check work on the database of
    SEGSVC_DATABASE_URL; without it, on an embedded PostgreSQL with its files in SEGSVC_DATA_DIR.
    The service listens at SEGSVC_HOST and SEGSVC_PORT.

    Exit status: 0 done; 1 refused, and nothing was changed; 2 wrong usage; 3 the service is away or
    busy, and trying again is safe.
    """  # noqa: D301 (click reads the backspace)


for command in (segments, members, user, serve, migrate, keys, report, prune, check):
    main.add_command(command)
