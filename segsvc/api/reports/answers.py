"""What is answered about reports."""

from marshmallow import Schema, fields

from segsvc.http import fields as values
from segsvc.http.routes import Text
from segsvc.openapi.plugin import answered

_LINK = "https://segments.example.com/api/v1/reports/2026-11.csv?expires=1795435200&signature=2f1d"


class ReportLink(Schema):
    """A signed link, and when it ceases to be good."""

    url = fields.Url(required=True, metadata={"examples": [_LINK]})
    expires_at = answered(values.timestamp)


REPORT_LINK = ReportLink()
REPORT_CSV = Text("text/csv", "1000;VOICE_MESSAGES;add;2026-11-22T12:00:00.000000Z\n")
