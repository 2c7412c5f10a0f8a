"""`segsvc migrate`."""

import click

from segsvc.cli.database import open_database, read_settings, run_migrations


@click.command()
@click.option(
    "--break-lock", is_flag=True, help="Remove the lock that an interrupted migration left."
)
def migrate(*, break_lock: bool) -> None:
    """Bring the database schema to this version.

    Run it before the new version is served. Each migration is one transaction.
    """
    with open_database(read_settings(), exclusive=False) as (dsn, where):
        applied = run_migrations(dsn, break_lock=break_lock)
        click.echo(f"applied {', '.join(applied) or 'nothing: the schema is up to date'}, {where}")
