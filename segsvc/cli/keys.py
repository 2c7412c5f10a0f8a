"""`keys`: who may use the service."""

import click

from segsvc.auth import store
from segsvc.auth.roles import Role
from segsvc.cli.server import run_connected
from segsvc.db.pool import Connection
from segsvc.db.values import SLUG
from segsvc.http.fields import rfc3339


@click.group()
def keys() -> None:
    """Create, list and revoke the keys that requests bear.

    They work on the database of SEGSVC_DATABASE_URL. While there has never been a key, the service
    is open to everyone on its machine.
    """


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="A reader reads users; an editor does everything.",
)
def create(name: str, role: str) -> None:
    """Create the key NAME and print it, for the only time.

    The name stands in the history of what is done with the key, and is never given again. Requests
    bear the key in the header Authorization: Bearer KEY; the commands of segsvc take it from
    SEGSVC_KEY.
    """
    if not SLUG.fullmatch(name):
        raise click.BadParameter(
            "must be 1 to 64 of the characters A-Z, a-z, 0-9, _ and -, the first one a letter",
            param_hint="NAME",
        )

    async def work(conn: Connection) -> None:
        key = await store.create(conn, name, Role(role))
        if key is None:
            raise click.ClickException(f"there is or was a key {name}: take another name")
        click.echo(key)

    run_connected(work)


@keys.command("list")
def list_keys() -> None:
    """List all keys: name, role, and when they were created and revoked."""

    async def work(conn: Connection) -> None:
        for key in await store.list_all(conn):
            end = f"revoked {rfc3339(key.revoked_at)}" if key.revoked_at else ""
            line = f"{key.name:<32}  {key.role:<6}  created {rfc3339(key.created_at)}  {end}"
            click.echo(line.rstrip())

    run_connected(work)


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke the key NAME: within seconds no request with it is answered."""

    async def work(conn: Connection) -> None:
        if not await store.revoke(conn, name):
            raise click.ClickException(f"there is no key {name} that is not revoked yet")
        click.echo(f"revoked {name}")

    run_connected(work)
