"""Links to reports: signed, with an expiry, for one month and one user or all."""

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
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


def verify(given: str, now: datetime, secret: str) -> Report:
    """Return the report of a link made by `sign`. Nothing is read before the signature is checked.

    Raises:
        LinkRefused: the link was not signed with `secret`, was altered, or has expired.
    """
    signed, _, signature = given.rpartition("&signature=")
    if not hmac.compare_digest(signature.encode(), _signature(signed, secret).encode()):
        raise LinkRefused("the link was altered or never signed: ask POST /reports for one")
    month, _, query = signed.partition(".csv?")
    values = parse_qs(query)
    if int(values["expires"][0]) <= now.timestamp():
        raise LinkRefused("the link has expired: ask POST /reports for another")
    user_id = int(values["user_id"][0]) if "user_id" in values else None
    return Report(Month.parse(month), user_id)


def _signature(signed: str, secret: str) -> str:
    """Return the HMAC-SHA-256 of `signed`, in hexadecimal digits."""
    return hmac.new(secret.encode(), signed.encode(), "sha256").hexdigest()
