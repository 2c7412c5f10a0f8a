"""Questions that arrive while a query is under way wait, and go together as the next query.

There is no timer: a question that finds nothing under way is sent at once, and under load the
batches grow by themselves to what arrives during a round trip.

Concurrency. Everything runs on one event loop, so code between two awaits is not interrupted, and
that is what these promises rest on:

- An answer is never older than its question: the list of a batch is fixed before its query is
  sent, and a question that comes later is not in it.
- No wake-up is lost: whoever asks leaves the question first and then looks for the task at work;
  the task looks for questions last, and is gone with no await in between.
- A failure concerns those who are in the query that failed, and the lack of a connection all who
  wait for one: nobody waits for a second attempt.
- Whoever goes away takes only a future along, which is then left out or its answer dropped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from segsvc.db.pool import Connection

Question = TypeVar("Question")
Answer = TypeVar("Answer")

# The most questions in a query, so that one batch cannot hold the next for long.
MAX_BATCH_SIZE = 500


class Batcher(Generic[Question, Answer]):
    """Answers questions by queries for many, one query at a time."""

    def __init__(
        self,
        lend: Callable[[], AbstractAsyncContextManager[Connection]],
        query: Callable[[Connection, list[Question]], Awaitable[Sequence[Answer]]],
    ) -> None:
        """`lend` gives a connection for a query; `query` returns an answer for each question."""
        self._lend = lend
        self._query = query
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._work: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """Return the answer to `question`, from a query sent after this call.

        Raises:
            Exception: what the query raised, or the attempt to get a connection for it.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._work is None:
            self._work = asyncio.create_task(self._answer_all())
        return await answer

    async def close(self) -> None:
        """Stop at once. Those who wait are cancelled."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                await self._answer_some()
        finally:
            self._work = None
            for _, answer in self._waiting:
                answer.cancel()

    async def _answer_some(self) -> None:
        batch = self._waiting
        try:
            async with self._lend() as conn:
                batch, self._waiting = (
                    self._waiting[:MAX_BATCH_SIZE],
                    self._waiting[MAX_BATCH_SIZE:],
                )
                batch = [(question, answer) for question, answer in batch if not answer.done()]
                if batch:
                    answers = await self._query(conn, [question for question, _ in batch])
                    for (_, future), answer in zip(batch, answers, strict=True):
                        if not future.done():
                            future.set_result(answer)
        except Exception as error:  # noqa: BLE001 (it is raised where the answer is awaited)
            if batch is self._waiting:
                self._waiting = []
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        finally:
            for _, future in batch:
                future.cancel()
