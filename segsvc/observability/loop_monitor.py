"""How long the event loop was not given back: while it is not, no request is answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from segsvc.observability import metrics

# Seconds between two looks; the delay of a look is the time for which the loop was busy.
INTERVAL = 0.05

# Looks after which the longest delay is shown, and measured anew: those of ten seconds.
LOOKS = 200


@asynccontextmanager
async def measured() -> AsyncIterator[None]:
    """Measure the longest time for which the loop is busy inside the context."""
    watching = asyncio.create_task(_watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _watch() -> None:
    clock = asyncio.get_running_loop().time
    while True:
        longest = 0.0
        for _ in range(LOOKS):
            expected = clock() + INTERVAL
            await asyncio.sleep(INTERVAL)
            longest = max(longest, clock() - expected)
        metrics.LOOP_BLOCKED.set(longest)
