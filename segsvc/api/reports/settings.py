"""What the handlers of reports are given by the application."""

from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True)
class ReportSettings:
    """The secret that signs links, and the public address of the service."""

    secret: str
    public_url: str | None


REPORTS = web.AppKey("reports", ReportSettings)
