"""Schemas of reports."""

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, post_load

from segsvc.api.reports.links import Report
from segsvc.api.reports.months import MONTH, Month
from segsvc.http.fields import DescribedField, Timestamp, UserIdOrText
from segsvc.http.routes import Text


class MonthField(DescribedField):
    """A month, such as 2026-11."""

    json_schema: ClassVar = {
        "type": "string",
        "pattern": f"^{MONTH.pattern}$",
        "examples": ["2026-11"],
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Month:
        try:
            return Month.parse(value if isinstance(value, str) else "")
        except ValueError as error:
            raise ValidationError(str(error)) from None


class NewReportSchema(Schema):
    """`{period, user_id?}`."""

    period = MonthField(required=True)
    user_id = UserIdOrText(load_default=None)

    @post_load
    def _build(self, data: Mapping[str, Any], **_: Any) -> Report:
        return Report(data["period"], data["user_id"])


_FILE = "https://segments.example.com/api/v1/reports/2026-11.csv"


class ReportLinkSchema(Schema):
    """A signed link, and the time until which it is valid."""

    url = fields.Url(
        required=True,
        metadata={"examples": [f"{_FILE}?expires=1795435200&signature=2f1d"]},
    )
    expires_at = Timestamp(required=True)


NEW_REPORT = NewReportSchema()
REPORT_LINK = ReportLinkSchema()
REPORT_CSV = Text("text/csv", "1000;VOICE_MESSAGES;add;2026-11-22T12:00:00.000000Z\n")
