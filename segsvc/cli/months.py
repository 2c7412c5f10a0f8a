"""Months as arguments of commands."""

import click

from segsvc.api.reports.months import Month


class MonthType(click.ParamType[Month]):
    """A month, such as 2026-11."""

    name = "month"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Month:
        """Return the month, or fail with what it must look like."""
        try:
            return Month.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
