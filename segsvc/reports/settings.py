"""What the handlers of reports are given by the application."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from segsvc.database import Pool


@dataclass(frozen=True)
class ReportSettings:
    """The secret that signs links, the public address of the service, and what reports may use.

    Reports have a pool and slots of their own, so that they never starve the reads.
    """

    secret: str
    public_url: str | None
    pool: Pool
    slots: asyncio.Semaphore


REPORTS = web.AppKey("reports", ReportSettings)
