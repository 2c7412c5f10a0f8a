"""The OpenAPI document, and a page that shows it in Swagger UI, with no file from another host."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from aiohttp import ETag, web
from marshmallow import INCLUDE, Schema, fields
from openapi_ui_bundles import swagger_ui

from segsvc.http.problems import NotFound
from segsvc.http.routes import Routes, Text
from segsvc.http.threads import in_thread
from segsvc.observability import health
from segsvc.openapi.document import DOCUMENT, etag_of

ROUTES = Routes(health.ROUTES.name, health.ROUTES.description, base="")

HERE = Path(__file__).parent
PAGE = HERE / "docs.html"
FILES = {
    "start.js": HERE / "start.js",
    **{
        name: swagger_ui.static_path / name
        for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
    },
}

# Fixed here: what a machine knows of suffixes depends on its configuration.
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}

# Seconds: after an hour a browser asks again, and so gets the files of a new version.
FILE_AGE = 3600

# Scripts, styles and requests of this origin only, and no framing by other pages. The images are in
# the style sheet of Swagger UI.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE = {"Referrer-Policy": "no-referrer"}


class OpenApiSchema(Schema):
    """A document of OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1)."""

    class Meta:
        """Other OpenAPI fields are allowed."""

        unknown = INCLUDE

    openapi = fields.String(required=True, metadata={"examples": ["3.1.0"]})


OPENAPI = OpenApiSchema()


@ROUTES.get("/openapi.json", role=None, query=None, answers=(OPENAPI,))
async def show_openapi(request: web.Request) -> web.Response:
    """Show this document."""
    document = request.app[DOCUMENT]
    etag = await in_thread(lambda: document.etag)  # the first time, it is generated
    headers = {"Content-Type": "application/json", "Cache-Control": "no-cache"}
    return _with_etag(request, document.body, etag, headers)


@ROUTES.get("/docs", role=None, query=None, answers=(Text("text/html", "<!doctype html>..."),))
async def show_docs(request: web.Request) -> web.Response:
    """Show a page on which this document can be read and tried."""
    del request
    return web.Response(
        body=PAGE.read_bytes(),
        content_type="text/html",
        charset="utf-8",
        headers=SAFE | {"Cache-Control": "no-cache", "Content-Security-Policy": POLICY},
    )


@ROUTES.get(
    "/docs/{file}",
    role=None,
    query=None,
    answers=(Text("text/javascript", "..."), Text("text/css", "..."), Text("image/png", "...")),
    problems=(NotFound,),
)
async def show_docs_file(request: web.Request) -> web.Response:
    """Serve a file of that page."""
    path = FILES.get(request.match_info["file"])
    if not path:
        raise NotFound(f"no route has the path {request.path}")
    return serve_file(request, path)


def serve_file(request: web.Request, path: Path) -> web.Response:
    """Answer with a file of the package, or 304 if the client has it."""
    headers = SAFE | {
        "Content-Type": TYPES[path.suffix],
        "Cache-Control": f"public, max-age={FILE_AGE}",
    }
    return _with_etag(request, *_file(path), headers)


@cache
def _file(path: Path) -> tuple[bytes, str]:
    """Return the content of a file and its entity tag."""
    body = path.read_bytes()
    return body, etag_of(body)


def _with_etag(
    request: web.Request, body: bytes, etag: str, headers: Mapping[str, str]
) -> web.Response:
    """Return `body`, or 304 if the client has it."""
    answer = web.Response(body=body, headers=headers)
    answer.etag = etag
    if ETag(etag) in (request.if_none_match or ()):
        answer.set_status(304)
        answer.body = None
    return answer
