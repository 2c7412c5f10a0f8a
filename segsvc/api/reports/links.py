"""Links to reports: signed, with an expiry, for one month and one user or all."""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode

from segsvc.api.reports.months import Month

LIFETIME = timedelta(days=1)


class LinkRefused(Exception):  # noqa: N818 (a decision, not a mistake)
    """A link is not valid; the message says why."""


@dataclass(frozen=True)
class Report:
    """The report of a month, for all known users or for one."""

    month: Month
    user_id: int | None

    @property
    def file_name(self) -> str:
        """The file name that a browser suggests."""
        user = "" if self.user_id is None else f"-user-{self.user_id}"
        return f"segsvc-{self.month}{user}.csv"


def sign(report: Report, expires_at: datetime, secret: str) -> str:
    """Return the last part of the URL of a report: the file and a query with the signature."""
    user = {} if report.user_id is None else {"user_id": report.user_id}
    query = urlencode({**user, "expires": int(expires_at.timestamp())})
    signed = f"{report.month}.csv?{query}"
    return f"{signed}&signature={_signature(signed, secret)}"


def verify(given: str, secret: str) -> tuple[Report, datetime]:
    """Return the report of a link made by `sign`, and its expiry.

    Nothing is read before the signature is checked, and nothing but the link is needed for it.

    Raises:
        LinkRefused: the link was not signed with `secret`, or was altered.
    """
    signed, _, signature = given.rpartition("&signature=")
    if not hmac.compare_digest(signature.encode(), _signature(signed, secret).encode()):
        raise LinkRefused("the link was altered or never signed: ask POST /reports for one")
    month, _, query = signed.partition(".csv?")
    values = parse_qs(query)
    user_id = int(values["user_id"][0]) if "user_id" in values else None
    expires_at = datetime.fromtimestamp(int(values["expires"][0]), UTC)
    return Report(Month.parse(month), user_id), expires_at


def _signature(signed: str, secret: str) -> str:
    """Return the HMAC-SHA-256 of `signed`, in hexadecimal digits."""
    return hmac.new(secret.encode(), signed.encode(), "sha256").hexdigest()
