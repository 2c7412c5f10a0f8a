"""How long one piece of work keeps the event loop."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

# Seconds of CPU for which one piece of work may keep the event loop: the aim is 0.01, and the rest
# is the noise of a busy machine. Without the aim it was seconds.
LONGEST = 0.2


@asynccontextmanager
async def loop_is_given_back() -> AsyncIterator[None]:
    """Check that no work inside the context keeps the event loop for long.

    CPU time of this thread, because other processes share the machine.
    """
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
    assert 0 < longest < LONGEST, longest


@contextmanager
def short_collections() -> Iterator[None]:
    """Keep the garbage collector from looking at everything that the tests have made before."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
