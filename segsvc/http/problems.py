"""Problem documents (RFC 9457): one class for each error that the service answers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from segsvc.db.values import MAX_USER_ID, rfc3339

Errors = Sequence[Mapping[str, str]]


# Places that one problem document names.
MAX_ERRORS = 100


class Problem(Exception):  # noqa: N818 (the RFC's word)
    """An error that is answered as a problem document.

    Attributes:
        status: the HTTP status code.
        slug: the stable end of `type`; programs compare it.
        title: the kind of problem, always the same for a class.
        detail: what was wrong this time, and what to do.
        errors: the places at fault, as `{pointer, detail}`.
        headers: additional response headers.
    """

    status: ClassVar[int]
    slug: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self, detail: str, errors: Errors = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)
        self.headers = headers or {}

    def document(self) -> dict[str, Any]:
        """Return the members of the problem document."""
        detail = self.detail
        if len(self.errors) > MAX_ERRORS:
            detail += f"; only the first {MAX_ERRORS} errors are listed"
        document: dict[str, Any] = {
            "type": f"urn:segsvc:problem:{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": detail,
        }
        return document | {"errors": self.errors[:MAX_ERRORS]} if self.errors else document


class NotJson(Problem):
    """The body cannot be read as JSON."""

    status, slug, title = 400, "not-json", "The body is not JSON"


class MalformedRequest(Problem):
    """The request is not HTTP, or not in a form that everyone on its way reads alike."""

    status, slug, title = 400, "malformed-request", "The request is not valid HTTP"

    def __init__(self) -> None:
        super().__init__(
            "send HTTP/1.1 as RFC 9112 defines it, without TLS: one Host header with a host name,"
            " one length of the body, a line of at most 8190 bytes"
        )


class BrokenBody(Problem):
    """The body is cut short, or is not in its Content-Encoding."""

    status, slug, title = 400, "broken-body", "The body does not arrive whole"


class KeyRequired(Problem):
    """The request has no valid key."""

    status, slug, title = 401, "key-required", "This needs a key"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


_ROLES = {
    "reader": "reads users and nothing else",
    "follower": "reads users, members and events, and changes nothing",
}


def _lesser(name: str, role: str) -> str:
    return f"the key {name} has the role {role}, which {_ROLES[role]}"


class EditorRequired(Problem):
    """The key has a lesser role, the route needs an editor."""

    status, slug, title = 403, "editor-required", "This needs the key of an editor"

    def __init__(self, name: str, role: str) -> None:
        super().__init__(_lesser(name, role))


class FollowerRequired(Problem):
    """The key has the role reader, the route needs a follower or an editor."""

    status, slug, title = 403, "follower-required", "This needs the key of a follower or an editor"

    def __init__(self, name: str, role: str) -> None:
        super().__init__(_lesser(name, role))


class Forbidden(Problem):
    """The link to a report is altered, expired or not signed."""

    status, slug, title = 403, "link-refused", "The link is not valid"


class NotFound(Problem):
    """No route has this path."""

    status, slug, title = 404, "not-found", "There is nothing at this address"


class SegmentNotFound(Problem):
    """No live segment has the slug in the path."""

    status, slug, title = 404, "segment-not-found", "There is no such live segment"

    def __init__(self, slug: str) -> None:
        super().__init__(f"no live segment has the slug {slug!r}")


class LayerNotFound(Problem):
    """No live layer has the slug in the path."""

    status, slug, title = 404, "layer-not-found", "There is no such live layer"

    def __init__(self, slug: str) -> None:
        super().__init__(f"no live layer has the slug {slug!r}")


class MethodNotAllowed(Problem):
    """The path has other methods."""

    status, slug, title = 405, "method-not-allowed", "This address does not take this method"


class TooSlow(Problem):
    """The client stalls inside its body."""

    status, slug, title = 408, "too-slow", "The body takes too long to arrive"


class SlugTaken(Problem):
    """A live segment has the slug already."""

    status, slug, title = 409, "slug-taken", "The slug is taken by a live segment"


class LayerSlugTaken(Problem):
    """A live layer has the slug already."""

    status, slug, title = 409, "layer-slug-taken", "The slug is taken by a live layer"

    def __init__(self, slug: str) -> None:
        super().__init__(f"{slug} is live: delete it first, or take another slug")


class InAnotherLayer(Problem):
    """A segment is in another layer already."""

    status, slug, title = 409, "in-another-layer", "Some segments are in another layer"

    def __init__(self, errors: Errors) -> None:
        super().__init__("take them out of that layer first; nothing was changed", errors)


class NotEnoughFree(Problem):
    """The percentages of a layer would be more than 100 together."""

    status, slug, title = 409, "not-enough-free", "Not enough of the layer is free"

    def __init__(self, slug: str, percent: Decimal, at: datetime) -> None:
        super().__init__(
            f"{slug} can have {percent} % at most from {rfc3339(at)} on: lower the percentages or"
            " the plans of the other segments of the layer first; nothing was changed"
        )


class RedealNeeded(Problem):
    """Users would enter and leave segments, because their points are dealt anew."""

    status, slug, title = 409, "redeal-needed", "Percentages would take other users"

    def __init__(self, errors: Errors) -> None:
        super().__init__(
            "segments of a layer share one point of each user: say redeal=true to deal these"
            " percentages anew; nothing was changed",
            errors,
        )


class ElsewhereInLayer(Problem):
    """A user who is to be added is by hand in another segment of the layer."""

    status, slug, title = 409, "elsewhere-in-layer", "Users are in another segment of the layer"

    def __init__(self, errors: Errors, choices: Sequence[str]) -> None:
        *others, last = choices
        super().__init__(
            "say with on_conflict what becomes of the memberships in errors:"
            f" {', '.join(others)} or {last}; nothing was changed",
            errors,
        )


def elsewhere(user_id: int, slug: str, ends_at: datetime | None) -> str:
    """Return what `ElsewhereInLayer` says of one membership."""
    end = f"until {rfc3339(ends_at)}" if ends_at else "without an end"
    return f"user {user_id} is by hand in {slug}, a segment of the same layer, {end}"


class PlanPending(Problem):
    """The percentage is planned, and the request does not say what becomes of the plan."""

    status, slug, title = 409, "plan-pending", "The percentage has a plan"

    def __init__(self) -> None:
        super().__init__(
            'say what becomes of the plan: "plan": "keep" changes the percentage until its next'
            ' step, "plan": "cancel" for good; nothing was changed'
        )


class PlanChanged(Problem):
    """The plan is not the one that If-Match names."""

    status, slug, title = 412, "plan-changed", "Another request has changed the plan"

    def __init__(self) -> None:
        super().__init__("read the plan again, and send its ETag in If-Match; nothing was changed")


class EventsGone(Problem):
    """The events after a cursor may be incomplete."""

    status, slug, title = 410, "events-gone", "The events after this cursor are gone"

    def __init__(self, kept_from: datetime) -> None:
        super().__init__(
            f"events before {rfc3339(kept_from)} were pruned, or a backup was restored then: list"
            " the members with GET /segments/{slug}/members and continue from its events_after"
        )


class TooLarge(Problem):
    """The body is over the limit."""

    status, slug, title = 413, "too-large", "The body is too large"


class UnsupportedMediaType(Problem):
    """The body has a content type that the route does not read."""

    status, slug, title = 415, "unsupported-media-type", "The content type is not supported"


class UnsupportedExpectation(Problem):
    """The header Expect has a value that nobody defines."""

    status, slug, title = 417, "unsupported-expectation", "The expectation is not known"

    def __init__(self) -> None:
        super().__init__("send Expect: 100-continue, or no header Expect")


class InvalidRequest(Problem):
    """The request is well-formed but wrong."""

    status, slug, title = 422, "invalid-request", "The request is well-formed but wrong"

    def __init__(self, errors: Errors) -> None:
        super().__init__("see errors for each place at fault; nothing was changed", errors)


class WrongFormat(Problem):
    """The file is in another format."""

    status, slug, title = 422, "wrong-format", "The file is in another format"


class InvalidLines(Problem):
    """Some lines of a file have no user id; the pointers are fragments of RFC 7111."""

    status, slug, title = 422, "invalid-lines", "Some lines of the file have no user id"

    def __init__(self, lines: Mapping[int, str], *, more: bool) -> None:
        last = f"; the file was not read beyond line {max(lines)}" if more else ""
        super().__init__(
            "send one user id a line, or CSV with a header that has one column user_id; see errors"
            f" for each of these lines; nothing was changed{last}",
            [
                {
                    "pointer": f"#row={number}",
                    "detail": f"line {number} must have a user id, an integer from 1 to"
                    f" {MAX_USER_ID}: {text!r}",
                }
                for number, text in lines.items()
            ],
        )


class NobodyListed(Problem):
    """A file or a set without users would remove all members."""

    status, slug, title = 422, "nobody-listed", "Nobody would be left in the segment"

    def __init__(self) -> None:
        super().__init__(
            "the file or set has no users; to remove all members, send ?allow_empty=true; nothing"
            " was changed"
        )


class UnknownSegments(Problem):
    """The body names segments that are not live."""

    status, slug, title = 422, "unknown-segments", "Some slugs name no live segment"

    def __init__(self, errors: Errors) -> None:
        super().__init__(
            "create these segments first or leave them out; nothing was changed", errors
        )


class TooManyRequests(Problem):
    """The key has as many requests under way as one key may have."""

    status, slug, title = 429, "too-many-requests", "The key has too many requests under way"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"one key may have {most} requests under way: wait for some of them",
            headers={"Retry-After": "1"},
        )


class TooManyNewUsers(Problem):
    """The key has asked about as many unknown users as one key may."""

    status, slug, title = 429, "too-many-new-users", "The key asks about too many new users"

    def __init__(self, rate: int) -> None:
        super().__init__(
            f"{rate} users a second may become known by the questions of one key: ask again in a"
            " moment; known users are answered meanwhile",
            headers={"Retry-After": "1"},
        )


class InternalError(Problem):
    """A defect of the service."""

    status, slug, title = 500, "internal-error", "The service made a mistake"

    def __init__(self) -> None:
        super().__init__("this is a defect of the service, and its log has the details")


class Busy(Problem):
    """The limit of such requests is reached."""

    status, slug, title = 503, "busy", "The service is busy with other such requests"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "10"})


class IncompleteReport(Problem):
    """The report of a month that is over may miss an event."""

    status, slug, title = 503, "incomplete-report", "The report may not be complete yet"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "10"})


class WrongSetup(Problem):
    """The database lacks something, or a right to it."""

    status, slug, title = 503, "wrong-setup", "The database is not set up for the service"


class ReadOnly(Problem):
    """The database takes no writes."""

    status, slug, title = 503, "read-only", "The database takes no writes at the moment"

    def __init__(self, detail: str) -> None:
        super().__init__(f"{detail}; repeating is safe", headers={"Retry-After": "5"})


class WrongSchema(Problem):
    """The schema of the database is older or newer than this version of the service."""

    status, slug, title = 503, "wrong-schema", "The schema is another version's"


class DatabaseUnavailable(Problem):
    """The database does not answer, or not in time."""

    status, slug, title = 503, "database-unavailable", "The database is not available"

    def __init__(self) -> None:
        super().__init__("try again in a moment; repeating is safe", headers={"Retry-After": "1"})
