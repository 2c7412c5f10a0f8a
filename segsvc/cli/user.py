"""`segsvc user`."""

from typing import Any

import click

from segsvc.cli import client
from segsvc.db.values import MAX_USER_ID


@click.command()
@click.argument("user_id", metavar="ID", type=click.IntRange(1, MAX_USER_ID))
def user(user_id: int) -> None:
    """Show the segments of the user ID, why, what is planned, and the history.

    Outside layers, a user is in by percentage if the user's point, a hash of the slug and the id,
    is below the percentage of the segment. In a layer, a user has one point for all segments, and
    is in the segment that has this point; the point may be above its percentage.
    """

    async def work() -> None:
        answer = await client.call("GET", client.path("users", user_id, "memberships"))
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
        async for page in client.pages(client.path("users", user_id, "history")):
            for event in page["events"]:
                at, operation = event["at"], event["operation"]
                click.echo(f"  {at}  {operation:<6}  {event['slug']:<32}  {event['cause']}")

    client.run(work())


def _reason(reason: dict[str, Any]) -> str:
    how = "by hand" if reason["source"] == "manual" else "by percentage"
    end = f", until {reason['expires_at']}" if reason["expires_at"] else ""
    point = f" (point {reason['point']:g}, {reason['percent']:g} %)" if reason["percent"] else ""
    by = f", by {reason['by']}" if reason["by"] else ""
    return f"{reason['slug']:<32}  {how}{point}{by}, since {reason['since']}{end}"
