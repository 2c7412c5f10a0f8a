"""What operators' tools ask: whether the process lives, whether it can work, and its figures."""

from aiohttp import web
from marshmallow import Schema, fields, validate

from segsvc.http.problems import DatabaseUnavailable, WrongSchema
from segsvc.http.responses import json_response
from segsvc.http.routes import Operation, Text, operation
from segsvc.observability import metrics
from segsvc.observability.readiness import READINESS


class Status(Schema):
    """All is well."""

    status = fields.String(required=True, validate=validate.Equal("ok"))


STATUS = Status()


@operation(Operation(query=None, answers=(STATUS,)))
async def healthz(request: web.Request) -> web.Response:
    """`GET /healthz`: the process answers. Says nothing of the database, on purpose."""
    del request
    return json_response({"status": "ok"})


@operation(Operation(query=None, answers=(STATUS,), problems=(DatabaseUnavailable, WrongSchema)))
async def readyz(request: web.Request) -> web.Response:
    """`GET /readyz`: the database answers, and its schema is this version's."""
    if problem := await request.app[READINESS].problem():
        raise problem
    return json_response({"status": "ok"})


@operation(Operation(query=None, answers=(Text("text/plain", "segsvc_database_up 1.0\n"),)))
async def show_metrics(request: web.Request) -> web.Response:
    """`GET /metrics`: figures for Prometheus, of all processes of the service."""
    await request.app[READINESS].problem()  # which notes whether the database is up
    return web.Response(body=metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})
