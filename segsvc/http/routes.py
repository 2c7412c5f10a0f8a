"""The declaration of a route: everything about it is declared above its handler.

The application takes method, path and handler from it, the middleware the role, and the OpenAPI
document all of it.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from marshmallow import Schema

from segsvc.auth.roles import Role
from segsvc.http import BASE
from segsvc.http.fields import DescribedField, Slug, UserIdText
from segsvc.http.problems import Problem
from segsvc.http.requests import NO_PARAMETERS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Text:
    """A body that is not JSON, with an example."""

    media_type: str
    example: str


@dataclass(frozen=True, kw_only=True)
class Route:
    """One route.

    Attributes:
        method: the HTTP method; a GET answers HEAD too.
        path: the path with `{parameters}`.
        handler: its docstring is the summary in the OpenAPI document.
        role: the role that a key needs, None if no key is needed.
        parameters: fields of the path's parameters.
        query: the query parameters, None if the query is not read: a page, a probe.
        bodies: what may be sent, each in its content type, and an `example` of the JSON.
        status: the status of success.
        answers: what comes back with `status`, each in its content type.
        problems: what can go wrong, besides what follows from the above.
        failures: answers in another form than problem documents, by status.
    """

    method: str
    path: str
    handler: Handler
    role: Role | None
    parameters: Mapping[str, DescribedField] = field(
        default_factory=lambda: {"slug": Slug(), "user_id": UserIdText()}
    )
    query: Schema | None = NO_PARAMETERS
    bodies: tuple[Schema | Text, ...] = ()
    example: Any = None
    status: int = 200
    answers: tuple[Schema | Text, ...] = ()
    problems: tuple[type[Problem], ...] = ()
    failures: Mapping[int, Schema] = field(default_factory=dict)

    @property
    def definition(self) -> web.RouteDef:
        """The route as aiohttp takes it."""
        define = {
            "GET": web.get,
            "POST": web.post,
            "PUT": web.put,
            "PATCH": web.patch,
            "DELETE": web.delete,
        }
        return define[self.method](self.path, self.handler)

    @property
    def name(self) -> str:
        """The name of the handler."""
        return self.handler.__name__

    @property
    def summary(self) -> str:
        """The docstring of the handler, on one line."""
        return " ".join((self.handler.__doc__ or "").split()).removesuffix(".")


class Routes:
    """The routes of one resource.

    Attributes:
        name: the resource's name in the OpenAPI document.
        description: one sentence about it.
    """

    def __init__(self, name: str, description: str, base: str = BASE) -> None:
        """`base` is put before each path."""
        self.name = name
        self.description = description
        self._base = base
        self._routes: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def get(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a GET route above its handler, with the attributes of `Route`."""
        return self._declare("GET", path, declared)

    def post(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a POST route."""
        return self._declare("POST", path, declared)

    def put(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a PUT route."""
        return self._declare("PUT", path, declared)

    def patch(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a PATCH route."""
        return self._declare("PATCH", path, declared)

    def delete(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a DELETE route."""
        return self._declare("DELETE", path, declared)

    def _declare(
        self, method: str, path: str, declared: dict[str, Any]
    ) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            path_of_all = self._base + path
            self._routes.append(Route(method=method, path=path_of_all, handler=handler, **declared))
            return handler

        return declare
