"""`segsvc events`."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from segsvc.cli import client
from segsvc.cli.output import echo, with_json

# Seconds that a request waits for an event, and between two attempts to reach the service.
WAIT = 30
PAUSE = 1

# Seconds that an answer may take: the wait, and a page.
LONGEST_ANSWER = 90


@click.command()
@click.option("--follow", is_flag=True, help="Wait for more, until SIGINT or SIGTERM.")
@click.option("--segment", metavar="SLUG,...", help="Only of these segments.")
@click.option("--after", metavar="CURSOR", help="Start after an event's id, a time, or now.")
@click.option(
    "--cursor",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Start where FILE says, if it exists, and keep it up to date.",
)
@with_json
def events(*, follow: bool, segment: str | None, after: str | None, cursor: Path | None) -> None:
    """Show who entered and left segments, in order, and follow it.

    Without --after, it starts with the oldest event that is kept. With --follow, it goes on when
    the service is away for a while. FILE is replaced after the lines of a page are written: who is
    killed in between gets some lines again, with the same ids.

    \b
    Example:
      segsvc events --follow --segment DISCOUNT_30 --cursor crm.cursor --json
    """  # noqa: D301 (click reads the backspace)
    if cursor:
        after = _read(cursor) or after
    query = {"segment": segment, "limit": 1000, "wait": WAIT if follow else 0}

    async def work() -> None:
        position = after
        while True:
            page = await _page(query | {"after": position}, keep_trying=follow)
            for event in page["events"]:
                echo(event, _line(event))
            sys.stdout.flush()
            position = page["next"]
            if cursor:
                _replace(cursor, position)
            if not (follow or page["more"]):
                return

    client.run(_until_signal(work()) if follow else work())


async def _page(query: dict[str, Any], *, keep_trying: bool) -> Any:
    """Return a page, when the service answers."""
    from aiohttp import ClientError  # noqa: PLC0415 (see segsvc.cli.client)

    told = False
    while True:
        try:
            return await client.call(
                "GET", client.path("events"), seconds=LONGEST_ANSWER, params=query
            )
        except (ClientError, TimeoutError, client.TryAgain) as error:
            if not keep_trying:
                raise
            if not told:
                click.echo(f"no answer, trying again: {error}", err=True)
            told = True
            await asyncio.sleep(PAUSE)


async def _until_signal(work: Any) -> None:
    """Do `work` until SIGINT or SIGTERM."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _read(file: Path) -> str | None:
    """Return the cursor in a file that can be replaced; None if there is no file yet.

    Raises:
        ClickException: it cannot be read or replaced.
    """
    try:
        text = file.read_text("ascii").strip() if file.exists() else None
        _replace(file, text or "")
        if not text:
            file.unlink()
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{file} cannot keep the cursor: {error}") from error
    return text


def _replace(file: Path, text: str) -> None:
    """Replace what a file has, at once: it has the old text or the new one."""
    new = file.with_name(f"{file.name}.new")
    with new.open("w") as stream:
        stream.write(f"{text}\n")
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


def _line(event: dict[str, Any]) -> str:
    return (
        f"{event['at']}  {event['operation']:<6}  {event['user_id']:<19}  {event['slug']:<32}"
        f"  {event['cause']}"
    )
