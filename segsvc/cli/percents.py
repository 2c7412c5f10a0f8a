"""Percentages on the command line."""

from decimal import Decimal, InvalidOperation

import click


class PercentType(click.ParamType[Decimal]):
    """A number; the service says which ones it takes."""

    name = "percent"

    def convert(
        self, value: str | Decimal, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        """Return the number.

        Raises:
            BadParameter: it is none.
        """
        try:
            return Decimal(value)
        except InvalidOperation:
            self.fail(f"{value!r} is not a number", param, ctx)


def given(text: str) -> float | None:
    """Return the percentage in JSON, None for `none`.

    Raises:
        BadParameter: it is neither.
    """
    return None if text == "none" else number(PercentType()(text))


def number(percent: Decimal | None) -> float | None:
    """Return a percentage in JSON."""
    return None if percent is None else float(percent)


def shown(percent: float | None) -> str:
    """Return a percentage for people."""
    return "-" if percent is None else f"{percent:g} %"
