"""`/ofrep/v1/evaluate/flags`: the evaluation of one flag or of all.

Providers break on answers that lack a member which the protocol leaves optional, so all are there.
"""

from hashlib import sha256
from typing import Any

from aiohttp import web

from segsvc.api.ofrep.answers import FLAG, FLAG_FAILURE, FLAGS, FLAGS_FAILURE
from segsvc.api.ofrep.evaluations import EVALUATIONS, Flag
from segsvc.api.ofrep.schemas import EVALUATION, Failure, user_id_of
from segsvc.http.fields import SLUG
from segsvc.http.problems import DatabaseUnavailable, InternalError, NotJson
from segsvc.http.requests import read_json
from segsvc.http.responses import json_response
from segsvc.http.routes import Operation, operation

EXAMPLE = {"context": {"targetingKey": "1000"}}
UNFORESEEN = (InternalError, DatabaseUnavailable)


@operation(
    Operation(
        query=None,
        body=EVALUATION,
        example=EXAMPLE,
        answers=(FLAG,),
        problems=UNFORESEEN,
        failures={400: FLAG_FAILURE, 404: FLAG_FAILURE},
    )
)
async def evaluate_flag(request: web.Request) -> web.Response:
    """`POST /ofrep/v1/evaluate/flags/{key}`: evaluates a segment as a flag of OpenFeature."""
    key = request.match_info["key"]
    try:
        user_id = await _read_user_id(request)
    except Failure as failure:
        return json_response({"key": key} | _error(failure), status=400)
    flag = None
    if SLUG.fullmatch(key):
        flag = await request.app[EVALUATIONS].evaluate(user_id, key)
    if flag is None:
        unknown = Failure("FLAG_NOT_FOUND", "no live segment has this slug")
        return json_response({"key": key} | _error(unknown), status=404)
    return json_response(_document(flag))


@operation(
    Operation(
        query=None,
        body=EVALUATION,
        example=EXAMPLE,
        answers=(FLAGS,),
        problems=UNFORESEEN,
        failures={400: FLAGS_FAILURE},
    )
)
async def evaluate_flags(request: web.Request) -> web.Response:
    """`POST /ofrep/v1/evaluate/flags`: evaluates all segments, unless `If-None-Match` has them."""
    try:
        user_id = await _read_user_id(request)
    except Failure as failure:
        return json_response(_error(failure), status=400)
    flags = await request.app[EVALUATIONS].evaluate_all(user_id)
    response = json_response({"flags": [_document(flag) for flag in flags], "metadata": {}})
    assert isinstance(response.body, bytes)
    etag = sha256(response.body).hexdigest()
    # Compared weakly, as RFC 9110 has it; that POST may be answered 304 is the protocol's.
    if any(tag.value in {etag, "*"} for tag in request.if_none_match or ()):
        response = web.Response(status=304)
    response.etag = etag
    return response


async def _read_user_id(request: web.Request) -> int:
    try:
        data = await read_json(request)
    except NotJson as error:
        raise Failure("PARSE_ERROR", error.detail) from None
    return user_id_of(data)


def _document(flag: Flag) -> dict[str, Any]:
    return {
        "key": flag.key,
        "value": flag.value,
        "reason": flag.reason,
        "variant": "on" if flag.value else "off",
        "metadata": {},
    }


def _error(failure: Failure) -> dict[str, Any]:
    return {"errorCode": failure.code, "errorDetails": failure.details, "metadata": {}}
