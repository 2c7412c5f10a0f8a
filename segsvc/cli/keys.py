"""`segsvc keys`."""

import click

from segsvc.api.audit import store as audit
from segsvc.auth import store
from segsvc.auth.roles import Role
from segsvc.cli.database import read_settings, refuse_published_secret, run_connected
from segsvc.cli.output import echo, with_json
from segsvc.db.pool import Connection
from segsvc.db.values import SLUG, Author, rfc3339


@click.group()
def keys() -> None:
    """Create, list and revoke API keys.

    They are in the database of SEGSVC_DATABASE_URL. Until the first key is created, the service is
    open to everyone on its machine.

    \b
    Example:
      segsvc keys create shop --role reader
    """  # noqa: D301 (click reads the backspace)


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="A reader reads users; a follower also members and the feed; an editor does everything.",
)
def create(name: str, role: str) -> None:
    """Create the key NAME and print it, this once.

    The history names the key, so a name is never used again. Requests send the key in the header
    Authorization: Bearer KEY; the commands of segsvc take it from SEGSVC_KEY.
    """
    if not SLUG.fullmatch(name):
        raise click.BadParameter(
            "must be 1 to 64 of the characters A-Z, a-z, 0-9, _ and -, the first one a letter",
            param_hint="NAME",
        )

    refuse_published_secret(read_settings())

    async def work(conn: Connection) -> None:
        async with conn.transaction():
            key = await store.create(conn, name, Role(role))
            if key is None:
                raise click.ClickException(f"there is or was a key {name}: take another name")
            await audit.record(conn, Author(), "key.create", name, {"after": {"role": role}})
        click.echo(key)

    run_connected(work, "keys")


@keys.command("list")
@with_json
def list_keys() -> None:
    """List all keys: name, role, and when they were created and revoked."""

    async def work(conn: Connection) -> None:
        for key in await store.list_all(conn):
            created = rfc3339(key.created_at)
            revoked = rfc3339(key.revoked_at) if key.revoked_at else None
            row = {"name": key.name, "role": key.role, "created_at": created, "revoked_at": revoked}
            end = f"revoked {revoked}" if revoked else ""
            echo(row, f"{key.name:<32}  {key.role:<6}  created {created}  {end}".rstrip())

    run_connected(work, "keys")


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke the key NAME: within seconds, requests with it are refused."""

    async def work(conn: Connection) -> None:
        async with conn.transaction():
            if not await store.revoke(conn, name):
                raise click.ClickException(f"there is no key {name} that is not revoked yet")
            await audit.record(conn, Author(), "key.revoke", name, {})
        click.echo(f"revoked {name}")

    run_connected(work, "keys")
