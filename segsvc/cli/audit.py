"""`segsvc audit`."""

import json
from itertools import islice
from typing import Any

import click

from segsvc.cli import client
from segsvc.cli.output import echo, with_json

# Values of a new segment that are not shown: nobody has set them.
UNSET: tuple[Any, ...] = ([], "", None)


@click.command()
@click.option("--slug", help="Only of this segment, layer or key.")
@click.option("--actor", help="Only by this key.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="The most changes."
)
@with_json
def audit(limit: int, **only: str | None) -> None:
    """Show who changed segments, layers and keys, from what to what.

    The newest change comes first. Changes of single users are in their histories: segsvc user ID.

    \b
    Example:
      segsvc audit --slug VOICE_MESSAGES
    """  # noqa: D301 (click reads the backspace)

    async def work() -> None:
        left = limit
        async for page in client.pages(client.path("audit"), **only):
            for entry in islice(page["entries"], left):
                echo(entry, _line(entry))
            left -= len(page["entries"])
            if left <= 0:
                return

    client.run(work())


def _line(entry: dict[str, Any]) -> str:
    details = dict(entry["details"])
    before, after = details.pop("before", None), details.pop("after", None)
    if before is None or after is None:
        details = (before or after or {}) | details
        what = [f"{name} {_text(value)}" for name, value in details.items() if value not in UNSET]
    else:
        what = [f"{name} {_text(before[name])} -> {_text(after[name])}" for name in after]
    who = entry["actor"] or "-"
    where = entry["slug"] or ""
    line = f"{entry['at']}  {who:<16}  {entry['action']:<16}  {where:<24}  {', '.join(what)}"
    return line.rstrip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
