"""Reading requests: JSON body, query and path, validated by schemas and fields."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from operator import itemgetter
from typing import Any, NoReturn
from urllib.parse import quote

from aiohttp import web
from marshmallow import Schema, ValidationError

from segsvc.auth.keys import actor, identify_again
from segsvc.db.quotas import Quota
from segsvc.db.url import is_host
from segsvc.db.values import SLUG, Author
from segsvc.http import body_stream
from segsvc.http.app_keys import LIMITS, QUOTAS
from segsvc.http.fields import UserIdText
from segsvc.http.problems import (
    InvalidRequest,
    LayerNotFound,
    MalformedRequest,
    NotJson,
    SegmentNotFound,
    TooLarge,
    UnsupportedMediaType,
)
from segsvc.http.threads import in_thread
from segsvc.observability.request_ids import CURRENT

# Bytes of a body, and items of lists, that are read in some milliseconds.
LARGE_BODY = 16 * 1024
LONG_LIST = 50

# Members of an object, and commas and colons of a body: few bytes of a body can be much to read. No
# request needs half of them; the context of an evaluation may have members that are not used.
MAX_MEMBERS = 100
MAX_SEPARATORS = 25_000

Path = tuple[str | int, ...]

# A misspelt parameter is refused, as a misspelt field is: `?att=` must not read the present.
NO_PARAMETERS = Schema()

_USER_ID = UserIdText()

_HOST = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:]+))(:[0-9]{1,5})?")


async def read_body(request: web.Request, schema: Schema) -> Any:
    """Return the JSON body of `request`, loaded by `schema`. Query parameters are refused.

    Raises:
        InvalidRequest: `schema` refuses the body, or a list in it is too long.
        Problem: what `read_json` raises.
    """
    read_query(request, NO_PARAMETERS)
    return await load_body(request, schema)


async def load_body(request: web.Request, schema: Schema) -> Any:
    """Return what `read_body` does, for a route with query parameters."""
    data = await read_json(request)
    lists = {}
    if isinstance(data, dict):
        most = request.app[LIMITS].items
        lists = {name: len(value) for name, value in data.items() if isinstance(value, list)}
        if long := [name for name, length in lists.items() if length > most]:
            raise InvalidRequest(_errors({name: [f"at most {most} items"] for name in long}))
    if sum(lists.values()) > LONG_LIST:
        return await in_thread(load, schema, data)
    return load(schema, data)


async def read_json(request: web.Request) -> Any:
    """Return the JSON body of `request`.

    Stricter than `json.loads`, as RFC 8259 allows and RFC 7493 (I-JSON) asks: UTF-8 only, no
    NaN or Infinity, no repeated key in an object. Fractions are read as Decimal, exactly as sent.

    Raises:
        UnsupportedMediaType: the body is not declared as JSON in UTF-8, plain or gzip.
        BrokenBody: the body is cut short, or is not in its Content-Encoding.
        TooLarge: the body is over the limit, or has too many values.
        TooSlow: the body stalls.
        NotJson: the body is not JSON.
        InvalidRequest: an object in it has too many members.
    """
    charset = (request.charset or "utf-8").lower()
    if request.content_type != "application/json" or charset not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType("send JSON with the header Content-Type: application/json")
    body = await body_stream.read(request)
    await identify_again(request)
    if body.count(b",") + body.count(b":") > MAX_SEPARATORS:
        raise TooLarge(f"the limit is {MAX_SEPARATORS} values, lists and objects")
    return await in_thread(_parse, body) if len(body) > LARGE_BODY else _parse(body)


def read_query(request: web.Request, schema: Schema) -> Any:
    """Return the query parameters of `request`, loaded by `schema`.

    Raises:
        InvalidRequest: a parameter is unknown, given twice, or wrong.
    """
    if schema is NO_PARAMETERS and not request.query_string:
        return {}
    times = Counter(name for name, _ in request.query.items())
    if twice := {name: ["given more than once"] for name in times if times[name] > 1}:
        raise InvalidRequest(_errors(twice))
    loaded = load(schema, dict(request.query))
    if isinstance(loaded, dict) and "limit" in loaded:
        most = request.app[LIMITS].page
        if "limit" in request.query and loaded["limit"] > most:
            raise InvalidRequest(_errors({"limit": [f"must be an integer from 1 to {most}"]}))
        loaded["limit"] = min(loaded["limit"], most)
    return loaded


def load(schema: Schema, data: Any) -> Any:
    """Return what `schema` loads.

    Raises:
        InvalidRequest: it refuses the values.
    """
    if not isinstance(data, dict):
        raise InvalidRequest(_errors(["must be a JSON object"]))
    try:
        return schema.load(data)
    except ValidationError as error:
        raise InvalidRequest(_errors(error.messages)) from None


def read_user_id(request: web.Request) -> int:
    """Return the user id in the path of `request`.

    Raises:
        InvalidRequest: it is not a user id.
    """
    try:
        return _USER_ID.parse(request.match_info["user_id"])
    except ValidationError as error:
        raise InvalidRequest(_errors({"user_id": error.messages})) from None


def read_slug(request: web.Request) -> str:
    """Return the slug in the path of `request`.

    Raises:
        SegmentNotFound: it is not a slug, so no live segment has it.
    """
    slug = request.match_info["slug"]
    if not SLUG.fullmatch(slug):
        raise SegmentNotFound(slug)
    return slug


def read_layer_slug(request: web.Request) -> str:
    """Return the slug of a layer in the path of `request`.

    Raises:
        LayerNotFound: it is not a slug, so no live layer has it.
    """
    slug = request.match_info["slug"]
    if not SLUG.fullmatch(slug):
        raise LayerNotFound(slug)
    return slug


def read_base(request: web.Request) -> str:
    """Return the scheme and the host to which `request` was sent.

    Raises:
        MalformedRequest: its header Host is not that of a URL.
    """
    host = _HOST.fullmatch(request.host)
    if host is None or not is_host(host["address"] or host["name"]):
        raise MalformedRequest
    return f"{request.scheme}://{request.host}"


def author(request: web.Request) -> Author:
    """Return who sends `request`, for what the audit log says of the changes it makes."""
    ids = CURRENT.get()
    return Author(actor(request), ids.request_id if ids else None)


def quota_of(request: web.Request) -> Quota:
    """Return the quota of the key that sends `request`."""
    return request.app[QUOTAS][actor(request)]


def refusal(detail: str, *places: Path) -> InvalidRequest:
    """Return the problem that says `detail` of each of `places` in a request."""
    return InvalidRequest([{"pointer": pointer(*place), "detail": detail} for place in places])


def failures(messages: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Flatten marshmallow's nested error messages into pairs of a path and a message, sorted."""
    if isinstance(messages, dict):
        for key, inner in sorted(messages.items(), key=itemgetter(0)):
            yield from failures(inner, path if key == "_schema" else (*path, key))
    else:
        for message in messages:
            yield path, message


def pointer(*path: str | int) -> str:
    """Return the JSON pointer to `path` as a URI fragment (RFC 6901, section 6)."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return "#" + "".join("/" + quote(part, safe="~", errors="replace") for part in parts)


def _parse(body: bytes) -> Any:
    try:
        return _DECODER.decode(body.decode())
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise NotJson(f"the body is not JSON: {error}") from None


def _errors(messages: Any) -> list[dict[str, str]]:
    return [
        {"pointer": pointer(*path), "detail": detail.rstrip(".")}
        for path, detail in failures(messages)
    ]


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_MEMBERS:
        detail = f"an object has {len(pairs)} members, and {MAX_MEMBERS} are allowed"
        raise InvalidRequest(_errors([detail]))
    result = dict(pairs)
    if len(result) < len(pairs):
        ((repeated, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {repeated!r} is given more than once in one object")
    return result


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_object)
