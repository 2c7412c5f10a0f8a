"""`/reports`: links to the CSV of a month, and the CSV itself."""

from aiohttp import web

from segsvc.api.reports import links, store
from segsvc.api.reports.answers import REPORT_CSV, REPORT_LINK
from segsvc.api.reports.schemas import NEW_REPORT
from segsvc.api.reports.settings import REPORTS
from segsvc.db.pool import connection
from segsvc.http.app_keys import EXPORTS, POOL
from segsvc.http.csv_stream import stream_csv
from segsvc.http.problems import Busy, DatabaseUnavailable, Forbidden, InternalError, InvalidRequest
from segsvc.http.requests import pointer, read_body
from segsvc.http.responses import json_response, rfc3339
from segsvc.http.routes import Operation, operation


@operation(
    Operation(
        body=NEW_REPORT,
        example={"period": "2026-11"},
        status=201,
        answers=(REPORT_LINK,),
    )
)
async def create_report(request: web.Request) -> web.Response:
    """`POST /reports`: makes a link to the report of a month; nothing is stored."""
    report = await read_body(request, NEW_REPORT)
    async with connection(request.app[POOL]) as conn:
        now = await store.now(conn)
    if report.month.start > now:
        detail = "has not begun yet (months are UTC)"
        raise InvalidRequest([{"pointer": pointer("period"), "detail": detail}])
    settings = request.app[REPORTS]
    expires_at = (now + links.LIFETIME).replace(microsecond=0)
    base = settings.public_url or f"{request.scheme}://{request.host}"
    url = f"{base}{request.path}/{links.sign(report, expires_at, settings.secret)}"
    return json_response(
        {"url": url, "expires_at": rfc3339(expires_at)}, status=201, headers={"Location": url}
    )


@operation(
    Operation(
        query=None,  # which only whoever signed it can say
        answers=(REPORT_CSV,),
        problems=(Forbidden, Busy, InternalError, DatabaseUnavailable),
    )
)
async def download_report(request: web.Request) -> web.StreamResponse:
    """`GET /reports/{period}.csv`: the CSV, streamed, to those who have the link."""
    async with request.app[EXPORTS].open() as conn:
        given = f"{request.match_info['period']}.csv?{request.rel_url.raw_query_string}"
        try:
            report = links.verify(given, await store.now(conn), request.app[REPORTS].secret)
        except links.LinkRefused as error:
            raise Forbidden(str(error)) from None
        return await stream_csv(
            request, conn, report.file_name, lambda sink: store.copy(conn, report, sink)
        )
