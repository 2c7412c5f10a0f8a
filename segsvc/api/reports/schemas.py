"""What requests about reports may hold."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load

from segsvc.api.reports.links import Report
from segsvc.api.reports.months import MONTH, Month
from segsvc.http import fields as values


@values.described(type="string", pattern=f"^{MONTH.pattern}$", examples=["2026-11"])
def month(value: Any) -> Month:
    """A month written as 2026-11."""
    try:
        return Month.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValidationError(str(error)) from None


class NewReport(Schema):
    """`{period, user_id?}`."""

    period = fields.Function(deserialize=month, required=True)
    user_id = fields.Function(deserialize=values.user_id, load_default=None)

    @post_load
    def _freeze(self, data: dict[str, Any], **_: Any) -> Report:
        return Report(data["period"], data["user_id"])


NEW_REPORT = NewReport()
