"""Calls to a running service over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from segsvc.http import BASE
from segsvc.observability.printable import printable

if TYPE_CHECKING:  # half of the time of `segsvc segments --help`
    from aiohttp import ClientResponse

# Seconds. The answer to an import of many million users may take long.
CONNECT_TIMEOUT = 10
ANSWER_TIMEOUT = 3600

# Statuses that do not depend on the request: it may be accepted a moment later.
TRANSIENT = {429, 502, 503, 504}


class TryAgain(click.ClickException):
    """The service is away or busy, or a report is not complete yet."""

    exit_code = 3


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`, which calls the service.

    Raises:
        TryAgain: the service does not answer.
    """
    from aiohttp import ClientError  # noqa: PLC0415 (see above)

    try:
        asyncio.run(work)
    except (ClientError, TimeoutError) as error:
        reason = printable(str(error)) or "it takes too long"
        raise TryAgain(f"no answer from the service at SEGSVC_URL: {reason}") from error


def path(*parts: str | int) -> str:
    """Return the API path made of `parts`, with every special character escaped."""
    return "/".join((BASE, *(quote(str(part), safe="") for part in parts)))


@asynccontextmanager
async def request(
    method: str, path: str, *, seconds: float = ANSWER_TIMEOUT, **options: Any
) -> AsyncIterator["ClientResponse"]:
    """Send a request and yield the response; a parameter that is None or False is not sent.

    The answer may take `seconds`.

    Raises:
        ClickException: the service refuses the request; the message is its problem document.
    """
    from aiohttp import ClientSession, ClientTimeout  # noqa: PLC0415 (see above)

    from segsvc.cli.database import read_settings  # noqa: PLC0415 (see above)

    timeout = ClientTimeout(None, sock_connect=CONNECT_TIMEOUT, sock_read=seconds)
    settings = read_settings()
    headers = options.pop("headers", {})
    params = {
        name: "true" if value is True else value
        for name, value in options.pop("params", {}).items()
        if value is not None and value is not False
    }
    if settings.key:
        headers = headers | {"Authorization": f"Bearer {settings.key}"}
    async with (
        ClientSession(timeout=timeout) as session,
        session.request(
            method, settings.url + path, headers=headers, params=params, **options
        ) as response,
    ):
        if not response.ok:
            raise await _problem(response)
        yield response


async def call(method: str, path: str, **options: Any) -> Any:
    """Send a request and return the JSON of the response, None if it has no JSON."""
    async with request(method, path, **options) as response:
        return await _read(response) if response.content_type == "application/json" else None


async def pages(path: str, **query: str | int | None) -> AsyncIterator[Any]:
    """Yield the pages of a list."""
    query["limit"] = 1000
    while True:
        page = await call("GET", path, params=query)
        yield page
        if page["next"] is None:
            return
        query["after"] = page["next"]


async def _problem(response: "ClientResponse") -> click.ClickException:
    """Return the problem document of `response` as an error message."""
    kind = TryAgain if response.status in TRANSIENT else click.ClickException
    if response.content_type != "application/problem+json":
        reason = printable(response.reason or "")
        return kind(f"{response.url} answered {response.status} {reason}")
    problem = await _read(response)
    places = [f"  {error['pointer']}: {error['detail']}" for error in problem.get("errors", ())]
    return kind("\n".join([f"{problem['title']}: {problem['detail']}", *places]))


async def _read(response: "ClientResponse") -> Any:
    """Return the JSON of `response`; what others wrote in it cannot control the terminal.

    Raises:
        ClickException: it is not JSON, so another program answers at SEGSVC_URL.
    """
    try:
        return _all_printable(await response.json(content_type=None))
    except ValueError as error:
        raise click.ClickException(f"{response.url} does not answer as segsvc does") from error


def _all_printable(value: Any) -> Any:
    match value:
        case str():
            return printable(value)
        case list():
            return [_all_printable(each) for each in value]
        case dict():
            return {printable(name): _all_printable(each) for name, each in value.items()}
    return value
