"""The pages that change members: one user with a start and an end, a file, and an export."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import BadHttpMessage
from multidict import MultiDict

from segsvc.api.members import changes, store
from segsvc.api.members.handlers import export
from segsvc.api.members.schemas import (
    ADDITION_QUERY,
    REMOVAL_QUERY,
    REPLACEMENT_QUERY,
)
from segsvc.api.members.store import Operation
from segsvc.api.segments import store as segments
from segsvc.api.users import changes as users
from segsvc.api.users.schemas import USER_CHANGE
from segsvc.api.users.store import REFUSE
from segsvc.auth.keys import actor
from segsvc.auth.roles import Role
from segsvc.console.forms import Form, Shown, days, form_page, time
from segsvc.console.forms import user_id as user_id_in
from segsvc.console.pages import done, page, render
from segsvc.db.pool import connection
from segsvc.http import body_stream
from segsvc.http.app_keys import LIMITS, POOL
from segsvc.http.middlewares import problem_of
from segsvc.http.problems import BrokenBody, TooSlow, UnsupportedMediaType
from segsvc.http.requests import load, read_slug, refusal

QUERIES = {
    Operation.ADD: ADDITION_QUERY,
    Operation.REMOVE: REMOVAL_QUERY,
    Operation.REPLACE: REPLACEMENT_QUERY,
}

# Fields before a file, and bytes of each.
MOST_FIELDS = 20
LONGEST_FIELD = 200


async def _layer(request: web.Request, form: Form) -> Shown:
    """Say whether a segment is in a layer: only there, somebody can be in the way."""
    del form
    slug = read_slug(request)
    async with connection(request.app[POOL]) as conn:
        return {"segment": await segments.get(conn, slug)}


@form_page("/console/membership", "membership.html")
async def change_membership(request: web.Request, form: Form) -> web.Response:
    """Add a user to a segment, or remove the user from it."""
    user_id = user_id_in(form, "user_id")
    slug = form["slug"]
    if form["do"] not in {"add", "remove"}:
        raise refusal("must be add or remove", ("do",))
    if form["do"] == "remove":
        body: Shown = {"remove": [slug]}
    else:
        term = form.given(starts_at=time, expires_at=time, on_conflict=str)
        body = {"add": [slug], **term}
        if form["days"]:
            body["ttl"] = days(form["days"])
    changed = await users.change(request, user_id, load(USER_CHANGE, body))
    path = f"/console/users/{user_id}" if form["back"] == "user" else f"/console/segments/{slug}"
    if changed.removed:
        name = "removed"
    elif changed.added:
        name = "added"
    else:
        name = "unchanged"
    return done(path, name, id=str(user_id), slug=slug)


@page("/console/segments/{slug}/file", role=Role.EDITOR)
async def show_file(request: web.Request) -> web.Response:
    """Ask for a file of members."""
    form = Form({"operation": Operation.ADD})
    return render(request, "file.html", {**await _layer(request, form), "form": form})


@page("/console/segments/{slug}/file", role=Role.EDITOR, method="POST")
async def change_members(request: web.Request) -> web.Response:
    """Add, remove or replace the members of a file, or only count them."""
    slug, form, context = read_slug(request), Form({}), Shown()
    try:
        form, part = await _fields_and_file(request)
        operation = operation_of(form)
        query = form.given(starts_at=time, expires_at=time, allow_empty=str) | choice(form)
        if form["days"]:
            query["ttl"] = str(days(form["days"]))
        # The button comes after the file in the body, so it says it in the address.
        query["dry_run"] = "false" if request.query.get("do") == "save" else "true"
        options = load(QUERIES[operation], query)
        wanted = store.Change(slug, operation, **options, actor=actor(request))
        most = request.app[LIMITS].import_bytes
        pieces = body_stream.part_pieces(request, part, most, body_stream.FILE_SECONDS)
        counts = await changes.change_listed(request, wanted, pieces)
        context = {"counted": counts, "operation": operation, "dry_run": wanted.dry_run}
        status = 200
    except Exception as error:  # noqa: BLE001 (said on the page)
        problem = problem_of(request, error)
        context, status = {"problem": problem}, problem.status
    shown = {**await _layer(request, form), "form": form, **context}
    return render(request, "file.html", shown, status=status)


@page("/console/segments/{slug}/members.csv", role=Role.FOLLOWER)
async def export_members(request: web.Request) -> web.StreamResponse:
    """Export the members, now or as of any time, as the API does."""
    return await export(request, read_slug(request))


def choice(form: Form) -> dict[str, str]:
    """Return what becomes of users elsewhere in the layer, if it is not what is usual."""
    return {} if form["on_conflict"] in {"", REFUSE} else {"on_conflict": form["on_conflict"]}


def operation_of(form: Form) -> Operation:
    """Return what is to become of the users of a file or a set.

    Raises:
        InvalidRequest: the form does not say it.
    """
    try:
        return Operation(form["operation"])
    except ValueError:
        raise refusal("must be add, remove or replace", ("operation",)) from None


async def _fields_and_file(request: web.Request) -> tuple[Form, BodyPartReader]:
    """Return the fields of a form and the file that follows them (RFC 7578).

    Raises:
        UnsupportedMediaType: the body is not such a form.
        InvalidRequest: it has no file, or too many fields.
        Problem: what `body_stream.part_pieces` raises.
    """
    if request.content_type != "multipart/form-data" or "Content-Encoding" in request.headers:
        raise UnsupportedMediaType("send a form with a file, as multipart/form-data")
    seconds = request.app[LIMITS].stall_seconds
    fields: list[tuple[str, str]] = []
    async for part in _parts(request):
        if part.name == "file":
            return Form(MultiDict(fields)), part
        pieces = body_stream.part_pieces(request, part, LONGEST_FIELD, seconds)
        value = b"".join([piece async for piece in pieces]).decode(errors="replace")
        fields.append((part.name or "", value))
    detail = f"choose a file; at most {MOST_FIELDS} fields may come before it"
    raise refusal(detail, ("file",))


async def _parts(request: web.Request) -> AsyncIterator[BodyPartReader]:
    """Yield the first parts of a form.

    Raises:
        BrokenBody: it is not in the format of a form.
        TooSlow: the client stalls.
    """
    seconds = request.app[LIMITS].stall_seconds
    try:
        reader = await request.multipart()
        for _ in range(MOST_FIELDS):
            async with asyncio.timeout(seconds):
                part = await reader.next()
            if part is None:
                return
            if not isinstance(part, BodyPartReader):
                raise BrokenBody("a part of the form is a form again")
            yield part
    except TimeoutError:
        raise TooSlow(f"nothing came for {seconds} seconds") from None
    except (ValueError, RuntimeError, BadHttpMessage, ConnectionError) as error:
        raise BrokenBody("the body is not a form with a file") from error
