"""`segsvc user`."""

from typing import Any

import click

from segsvc.cli import client
from segsvc.cli.output import as_json, echo, with_json
from segsvc.db.values import MAX_USER_ID


class _UserGroup(click.Group):
    """`segsvc user ID` is short for `segsvc user show ID`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        short = [] if args[0] in self.commands else ["show"]
        return super().resolve_command(ctx, [*short, *args])


@click.group(cls=_UserGroup)
def user() -> None:
    """Show the segments of a user, why, what is planned and the history, or erase the user.

    \b
    Examples:
      segsvc user 1000
      segsvc user erase 1000
    """  # noqa: D301 (click reads the backspace)


USER_ID = click.argument("user_id", metavar="ID", type=click.IntRange(1, MAX_USER_ID))


@user.command()
@USER_ID
@click.confirmation_option(prompt="Segments and history of the user will be gone. Erase the user?")
def erase(user_id: int) -> None:
    """Erase the user ID: segments, history, and that the user was ever known.

    The audit log says that a user was erased, not who. Backups of the database still have what they
    had: restore none of them without erasing the user again.
    """

    async def work() -> None:
        await client.call("DELETE", client.path("users", user_id))
        click.echo(f"erased {user_id}")

    client.run(work())


@user.command()
@USER_ID
@with_json
def show(user_id: int) -> None:
    """Show the segments of the user ID, why, what is planned, and the history.

    Outside layers, a user is in by percentage if the user's point, a hash of the slug and the id,
    is below the percentage of the segment. In a layer, a user has one point for all segments, and
    is in the segment that has this point; the point may be above its percentage.
    """

    async def work() -> None:
        answer = await client.call("GET", client.path("users", user_id, "memberships"))
        pages = client.pages(client.path("users", user_id, "history"))
        events = [event async for page in pages for event in page["events"]]
        if as_json():
            echo(answer | {"history": events}, "")
            return
        for state, title in (
            ("included", "in"),
            ("suspended", "suspended in"),
            ("excluded", "excluded from"),
        ):
            found = [each for each in answer["memberships"] if each["state"] == state]
            if found or state == "included":
                click.echo(f"user {user_id} is {title} {len(found)} segments")
            for reason in found:
                click.echo(f"  {_reason(reason)}")
        if answer["upcoming"]:
            click.echo(f"user {user_id} will be in {len(answer['upcoming'])} segments")
        for plan in answer["upcoming"]:
            end = f" to {plan['expires_at']}" if plan["expires_at"] else ""
            click.echo(f"  {plan['slug']:<32}  from {plan['starts_at']}{end}")
        click.echo("history")
        for event in events:
            at, operation = event["at"], event["operation"]
            click.echo(f"  {at}  {operation:<6}  {event['slug']:<32}  {event['cause']}")

    client.run(work())


def _reason(reason: dict[str, Any]) -> str:
    how = "by hand" if reason["source"] == "manual" else "by percentage"
    end = f", until {reason['expires_at']}" if reason["expires_at"] else ""
    point = f" (point {reason['point']:g}, {reason['percent']:g} %)" if reason["percent"] else ""
    by = f", by {reason['by']}" if reason["by"] else ""
    return f"{reason['slug']:<32}  {how}{point}{by}, since {reason['since']}{end}"
