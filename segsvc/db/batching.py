"""Micro-batching: questions that arrive while a query runs are answered together by the next query.

There is no timer. A question that arrives while no query runs is sent at once; under load, a batch
holds what arrived during one round trip.

Concurrency: everything runs on one event loop, so code between two awaits is not interrupted. This
gives four guarantees:

- An answer is never older than its question. The questions of a batch are fixed before its query is
  sent.
- No question is forgotten. `ask` appends the question, then checks for the worker task; the task
  checks for questions, then ends, with no await in between.
- A failed query fails the questions in it. If no connection can be acquired, all waiting questions
  fail. There is no second attempt.
- A cancelled question cancels only its future. The future is left out of the next batch, or its
  answer is dropped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from segsvc.db.pool import Connection

Question = TypeVar("Question")
Answer = TypeVar("Answer")

# The most questions in a query, so that one batch does not delay the next one for long.
MAX_BATCH_SIZE = 500


class Batcher(Generic[Question, Answer]):
    """Answers many questions with one query, one query at a time."""

    def __init__(
        self,
        lend: Callable[[], AbstractAsyncContextManager[Connection]],
        query: Callable[[Connection, list[Question]], Awaitable[Sequence[Answer | Exception]]],
    ) -> None:
        """`lend` acquires a connection for a query.

        `query` returns for each question an answer, or an exception, which only its asker gets.
        """
        self._lend = lend
        self._query = query
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._work: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """Return the answer to `question`, from a query sent after this call.

        Raises:
            Exception: what the query raised, or returned for it, or acquiring a connection.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._work is None:
            self._work = asyncio.create_task(self._answer_all())
        return await answer

    async def close(self) -> None:
        """Stop at once and cancel the waiting questions."""
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
                        if future.done():
                            continue
                        if isinstance(answer, Exception):
                            future.set_exception(answer)
                        else:
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
