"""A running service, spoken to over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import click
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout

from segsvc.cli.server import read_settings
from segsvc.http.routes import BASE

# Seconds. An import of many million users may let the answer wait for long.
CONNECT_TIMEOUT = 10
ANSWER_TIMEOUT = 3600

# Statuses that say nothing of the request: the same may be accepted a moment later.
TRANSIENT = {502, 503, 504}


class TryAgain(click.ClickException):
    """The service is away or busy."""

    exit_code = 3


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`, which speaks to the service; turn what goes wrong on the way into an exit."""
    try:
        asyncio.run(work)
    except (ClientError, TimeoutError) as error:
        reason = str(error) or "it takes too long"
        raise TryAgain(f"no answer from the service at SEGSVC_URL: {reason}") from error


def path(*parts: str | int) -> str:
    """Return the path below the base path that consists of `parts`, whatever they hold."""
    return "/".join((BASE, *(quote(str(part), safe="") for part in parts)))


@asynccontextmanager
async def request(method: str, path: str, **options: Any) -> AsyncIterator[ClientResponse]:
    """Send a request; yield the answer, or end with what the service says is wrong."""
    timeout = ClientTimeout(None, sock_connect=CONNECT_TIMEOUT, sock_read=ANSWER_TIMEOUT)
    settings = read_settings()
    headers = options.pop("headers", {})
    if settings.key:
        headers = headers | {"Authorization": f"Bearer {settings.key}"}
    async with (
        ClientSession(timeout=timeout) as session,
        session.request(method, settings.url + path, headers=headers, **options) as response,
    ):
        if not response.ok:
            raise await _problem(response)
        yield response


async def call(method: str, path: str, **options: Any) -> Any:
    """Send a request and return the JSON of the answer, if it has any."""
    async with request(method, path, **options) as response:
        return await response.json() if response.content_type == "application/json" else None


async def pages(path: str) -> AsyncIterator[Any]:
    """Yield the pages of a list, one after the other."""
    query: dict[str, str | int] = {"limit": 1000}
    while True:
        page = await call("GET", path, params=query)
        yield page
        if page["next"] is None:
            return
        query["after"] = page["next"]


async def _problem(response: ClientResponse) -> click.ClickException:
    """Return the problem that the service answered as a message for people (RFC 9457)."""
    kind = TryAgain if response.status in TRANSIENT else click.ClickException
    if response.content_type != "application/problem+json":
        return kind(f"{response.url} answered {response.status} {response.reason}")
    problem = await response.json()
    places = [f"  {error['pointer']}: {error['detail']}" for error in problem.get("errors", ())]
    return kind("\n".join([f"{problem['title']}: {problem['detail']}", *places]))
