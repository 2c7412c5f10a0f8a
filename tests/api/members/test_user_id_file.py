"""Files of user ids, without a service."""

from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from segsvc.api.members.user_id_file import BadLines, TooManyLines, UserIdFile, WrongFormat
from segsvc.db.values import MAX_USER_ID

FRAGMENTS = st.sampled_from(
    [b"1", b"22", b" ", b"\n", b"\r", b"\r\n", b'"', b",", b";", b"user_id", b"x", b"\xef\xbb\xbf",
     b"\n" * 50, b"x\n" * 99, b"1\n" * 20, b" " * 9_990, b"\0", b"\xff\xfe", b"1\0"]
)  # fmt: skip


@given(
    body=st.lists(FRAGMENTS, max_size=12).map(b"".join),
    cuts=st.sets(st.integers(0, 300), max_size=6),
    limit=st.sampled_from([1, 20, 10**6]),
)
@example(body=b" " * 2000, cuts={1}, limit=10**6)
@example(body=b"1" + b" " * 1500 + b"\n2", cuts={1501}, limit=10**6)
async def test_outcome_does_not_depend_on_pieces(body: bytes, cuts: set[int], limit: int) -> None:
    """The same bytes give the same ids or the same refusal, wherever the network splits them."""

    async def outcome(bounds: Iterable[int]) -> Any:
        async def pieces() -> AsyncIterator[bytes]:
            for start, end in pairwise([0, *sorted(bounds), len(body)]):
                yield body[start:end]

        try:
            found = b"".join([part async for part in UserIdFile(pieces(), limit, 10**6)])
        except BadLines as error:
            return error.lines, error.more
        except (WrongFormat, TooManyLines) as error:
            return type(error)
        assert all(1 <= int(line) <= MAX_USER_ID for line in found.split())
        return found

    whole = await outcome([])
    assert await outcome(cut for cut in cuts if cut < len(body)) == whole
    assert await outcome(range(1, min(len(body), 400))) == whole
