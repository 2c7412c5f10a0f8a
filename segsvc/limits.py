"""How much of everything the service takes on; each limit is a setting."""

from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one process of the service.

    Attributes:
        body: bytes of a JSON body, decoded.
        items: slugs or user ids in one list of a request.
        page: rows of a page.
        import_lines: user ids in a file of members; None for no limit.
        imports: files of members received at once.
        exports: reports and lists streamed at once.
        pool: connections for requests.
        waiting: requests that wait for one of these; more are told to come back.
        connections: clients connected at once; more are told to come back.
        statement_seconds: what a statement of a request may take.
        stall_seconds: in which a client must send or take something more.
    """

    body: int = 256 * 1024
    items: int = 1000
    page: int = 1000
    import_lines: int | None = None
    imports: int = 2
    exports: int = 2
    pool: int = 10
    waiting: int = 100
    connections: int = 1000
    statement_seconds: int = 10
    stall_seconds: int = 30


DEFAULT_LIMITS = Limits()
LIMITS = web.AppKey("limits", Limits)
