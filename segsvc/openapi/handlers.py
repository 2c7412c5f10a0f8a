"""`/openapi.json`, and `/docs`, which shows it in Swagger UI. Nothing comes from elsewhere."""

from pathlib import Path

from aiohttp import ETag, web
from marshmallow import INCLUDE, Schema, fields
from openapi_ui_bundles import swagger_ui

from segsvc.http.problems import NotFound
from segsvc.http.routes import Operation, Text, operation
from segsvc.openapi.document import DESCRIPTION

HERE = Path(__file__).parent
PAGE = HERE / "docs.html"
FILES = {
    "start.js": HERE / "start.js",
    **{
        name: swagger_ui.static_path / name
        for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
    },
}

# Said here, for what a machine makes of a suffix depends on the machine.
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
}

# Seconds; a file that changes with a version is looked for again after an hour.
FILE_AGE = 3600

# Only what is served here may run, be shown or be asked, and no other page may frame this one.
# Swagger UI sets its styles from its scripts, which needs no leave; its pictures are in its sheet.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE = {"Referrer-Policy": "no-referrer"}


class OpenApi(Schema):
    """A description in OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1)."""

    class Meta:
        """It has more members, which are for others to say."""

        unknown = INCLUDE

    openapi = fields.String(required=True, metadata={"examples": ["3.1.0"]})


OPENAPI = OpenApi()


@operation(Operation(query=None, answers=(OPENAPI,)))
async def show_openapi(request: web.Request) -> web.Response:
    """`GET /openapi.json`: this description."""
    description = request.app[DESCRIPTION]
    answer = web.Response(
        body=description.body,
        content_type="application/json",
        headers={"Cache-Control": "no-cache"},
    )
    answer.etag = description.etag
    if ETag(description.etag) in (request.if_none_match or ()):
        answer.set_status(304)
        answer.body = None
    return answer


@operation(Operation(query=None, answers=(Text("text/html", "<!doctype html>..."),)))
async def show_docs(request: web.Request) -> web.Response:
    """`GET /docs`: a page that shows this description, to read and to try."""
    del request
    return web.Response(
        body=PAGE.read_bytes(),
        content_type="text/html",
        charset="utf-8",
        headers=SAFE | {"Cache-Control": "no-cache", "Content-Security-Policy": POLICY},
    )


@operation(
    Operation(
        query=None,
        answers=(Text("text/javascript", "..."), Text("text/css", "..."), Text("image/png", "...")),
        problems=(NotFound,),
    )
)
async def show_docs_file(request: web.Request) -> web.FileResponse:
    """`GET /docs/{file}`: what the page is made of."""
    path = FILES.get(request.match_info["file"])
    if not path:
        raise NotFound(f"no route has the path {request.path}")
    headers = SAFE | {
        "Content-Type": TYPES[path.suffix],
        "Cache-Control": f"public, max-age={FILE_AGE}",
    }
    return web.FileResponse(path, headers=headers)
