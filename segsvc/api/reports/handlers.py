"""Reports: make a link to the CSV of a month, and download it."""

from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from segsvc.api.reports import links, store
from segsvc.api.reports.schemas import NEW_REPORT, REPORT_CSV, REPORT_LINK, MonthField
from segsvc.auth.roles import Role
from segsvc.db import clock
from segsvc.db.pool import connection
from segsvc.http.app_keys import EXPORTS, POOL
from segsvc.http.problems import (
    Busy,
    DatabaseUnavailable,
    Forbidden,
    IncompleteReport,
    InternalError,
    MalformedRequest,
)
from segsvc.http.requests import read_base, read_body, refusal
from segsvc.http.responses import json_response
from segsvc.http.routes import Routes
from segsvc.http.streams import stream_csv

ROUTES = Routes("reports", "Who entered and left which segment in a month, as CSV by a signed link")


@dataclass(frozen=True)
class LinkSettings:
    """The secret that signs links, and the URL that they begin with."""

    secret: str
    public_url: str | None


LINKS = web.AppKey("links", LinkSettings)


@ROUTES.post(
    "/reports",
    role=Role.EDITOR,
    bodies=(NEW_REPORT,),
    example={"period": "2026-11"},
    status=201,
    answers=(REPORT_LINK,),
    problems=(MalformedRequest,),
)
async def create_report(request: web.Request) -> web.Response:
    """Make a link to the report of a month; the link is valid for a day."""
    report = await read_body(request, NEW_REPORT)
    base = request.app[LINKS].public_url or read_base(request)
    path, expires_at = await make_link(request.app, report)
    url = f"{base}{request.path}/{path}"
    return json_response(
        REPORT_LINK, {"url": url, "expires_at": expires_at}, status=201, headers={"Location": url}
    )


async def make_link(app: web.Application, report: links.Report) -> tuple[str, datetime]:
    """Return the last part of the URL of a report, signed, and when it expires.

    Raises:
        InvalidRequest: the month is in the future.
    """
    async with connection(app[POOL]) as conn:
        now = await clock.now(conn)
    if report.month.start > now:
        raise refusal("is in the future (months are UTC)", ("period",))
    expires_at = (now + links.LIFETIME).replace(microsecond=0)
    return links.sign(report, expires_at, app[LINKS].secret), expires_at


@ROUTES.get(
    "/reports/{period}.csv",
    role=None,  # the signature of the link is the permission
    parameters={"period": MonthField()},
    query=None,  # the signature covers it
    answers=(REPORT_CSV,),
    problems=(Forbidden, Busy, InternalError, DatabaseUnavailable, IncompleteReport),
)
async def download_report(request: web.Request) -> web.StreamResponse:
    """Download the report that a link is for."""
    # The signature is checked first: a forged link takes no slot and no connection.
    given = f"{request.match_info['period']}.csv?{request.rel_url.raw_query_string}"
    try:
        report, expires_at = links.verify(given, request.app[LINKS].secret)
    except links.LinkRefused as error:
        raise Forbidden(str(error)) from None
    async with request.app[EXPORTS].open() as conn:
        if expires_at <= await clock.now(conn):
            raise Forbidden("the link has expired: ask POST /reports for another")
        try:
            return await stream_csv(
                request, conn, report.file_name, lambda sink: store.copy(conn, report, sink)
            )
        except store.Incomplete as error:
            raise IncompleteReport(str(error)) from None
