"""What a route takes and answers, declared at its handler."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from marshmallow import Schema

from segsvc.http.problems import Problem
from segsvc.http.requests import NO_PARAMETERS

Handler = TypeVar("Handler", bound=Callable[..., Any])


@dataclass(frozen=True)
class Text:
    """A body that is not JSON, with an example."""

    media_type: str
    example: str


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A route, besides what its path and the docstring of its handler say.

    Attributes:
        query: the query parameters, None for what is no call of the interface: a page, a probe.
        body: what is sent, and an `example` of it.
        answers: what comes back, with `status`, each in its content type.
        problems: what can go wrong, besides what follows from the above.
        failures: answers to what is wrong in another form than that of problems, by status.
    """

    query: Schema | None = NO_PARAMETERS
    body: Schema | Text | None = None
    example: Any = None
    status: int = 200
    answers: tuple[Schema | Text, ...] = ()
    problems: tuple[type[Problem], ...] = ()
    failures: Mapping[int, Schema] = field(default_factory=dict)


OPERATIONS: dict[Callable[..., Any], Operation] = {}


def operation(described: Operation) -> Callable[[Handler], Handler]:
    """Declare what the route of a handler takes and answers."""

    def declare(handler: Handler) -> Handler:
        OPERATIONS[handler] = described
        return handler

    return declare
