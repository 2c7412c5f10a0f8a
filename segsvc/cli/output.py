"""Rows on standard output: as text, or as JSON for scripts."""

import json
from collections.abc import Mapping
from typing import Any

import click

_JSON = "segsvc.json"


def _remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    ctx.meta[_JSON] = value


with_json = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=_remember,
    help="Print JSON: one object a line.",
)


def as_json() -> bool:
    """Return whether the command under way prints JSON."""
    return bool(click.get_current_context().meta.get(_JSON))


def echo(row: Mapping[str, Any], text: str) -> None:
    """Print a row, as the service says it or as text."""
    click.echo(json.dumps(row, ensure_ascii=False) if as_json() else text)
