"""Changes of many members of a segment: one transaction each, recorded in the audit log."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

from segsvc.api.audit.changes import record_members
from segsvc.api.members import store
from segsvc.api.members.sets import NamedSegment, resolve, shown
from segsvc.api.members.store import Operation
from segsvc.api.members.user_id_file import BadLines, TooManyLines, UserIdFile, WrongFormat
from segsvc.api.segments import store as segments
from segsvc.auth.keys import identify_again
from segsvc.db.conditions import ElsewhereInLayer, PastExpiry, PastStart, StartAfterEnd
from segsvc.http import problems
from segsvc.http.app_keys import IMPORTS, LIMITS
from segsvc.http.problems import InvalidLines, NobodyListed, TooLarge
from segsvc.http.requests import author, pointer, refusal


async def change_set(
    request: web.Request, wanted: store.Change, named: list[NamedSegment]
) -> dict[str, int]:
    """Change a segment for the users of a set; return the counts.

    Raises:
        SegmentsNotLive: the slug is not live.
        UnknownSegments, InvalidRequest: the set cannot be found.
        Problem: what `_refusals` raises.
    """
    async with request.app[IMPORTS].open() as conn:
        await segments.find(conn, wanted.slug)
        users = await resolve(conn, named)
        with _refusals(lambda _: pointer("from")):
            async with conn.transaction():
                done = await store.change_set(conn, wanted, users)
                await record_members(conn, author(request), wanted, done, shown(named))
    return _counts(wanted, done)


async def change_listed(
    request: web.Request, wanted: store.Change, pieces: AsyncIterator[bytes]
) -> dict[str, int]:
    """Change a segment for the users of a file, which arrives in pieces; return the counts.

    The file is received before any lock is taken, because that may take long. The change is one
    transaction. What can be refused without the file is refused before it is sent.

    Raises:
        SegmentsNotLive: the slug is not live.
        Problem: what `pieces` and `_refusals` raise.
    """
    limits = request.app[LIMITS]
    file = UserIdFile(pieces, limits.import_lines, limits.import_bytes)
    async with request.app[IMPORTS].open() as conn:
        await segments.find(conn, wanted.slug)
        with _refusals(lambda place: f"#row={file.line_of(place)}"):
            received = await store.receive(conn, file)
            await identify_again(request)
            async with conn.transaction():
                done = await store.change_listed(conn, wanted, received)
                await record_members(conn, author(request), wanted, done)
    return _counts(wanted, done)


def _counts(wanted: store.Change, done: store.Changed) -> dict[str, int]:
    """Return what a change did, or would do, as it is answered."""
    changed = done.removed if wanted.operation is Operation.REMOVE else done.added
    counts = {"received": done.received, "unchanged": done.received - changed - done.skipped}
    if wanted.operation is Operation.REPLACE:
        counts |= {"added": done.added, "removed": done.removed}
    else:
        counts["changed"] = changed
    if wanted.on_conflict == store.SKIP:
        counts["skipped"] = done.skipped
    return counts


@contextmanager
def _refusals(place: Callable[[int], str]) -> Iterator[None]:
    """Turn what is refused into problems; `place` points at a user, by the number in the file."""
    try:
        yield
    except WrongFormat as error:
        raise problems.WrongFormat(f"{error}; nothing was changed") from None
    except BadLines as error:
        raise InvalidLines(error.lines, more=error.more) from None
    except TooManyLines as error:
        raise TooLarge(f"the operator's limit is {error.limit} user ids in one file") from None
    except store.NobodyListed:
        raise NobodyListed from None
    except ElsewhereInLayer as error:
        errors = [
            {
                "pointer": place(found.place),
                "detail": problems.elsewhere(found.user_id, found.elsewhere, found.ends_at),
            }
            for found in error.conflicts
        ]
        raise problems.ElsewhereInLayer(errors, store.CHOICES) from None
    except (PastStart, StartAfterEnd) as error:
        raise refusal(error.detail, ("starts_at",)) from None
    except PastExpiry as error:
        raise refusal(error.detail, ("expires_at",)) from None
