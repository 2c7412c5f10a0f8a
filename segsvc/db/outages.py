"""Saying that the database is away and that it is back, however many requests notice."""

import logging
import time

# Seconds between two lines that say that it is away.
INTERVAL = 10.0

log = logging.getLogger(__name__)


class Outage:
    """The database as those see it who use it: here, or away since some time.

    Attributes:
        since: when it was first found away, on the monotonic clock; None while it is here.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        self._failures = 0
        self._said_at = -INTERVAL

    def failed(self, error: BaseException) -> None:
        """Note that the database could not be used."""
        now = time.monotonic()
        if self.since is None:
            self.since, self._failures = now, 0
        self._failures += 1
        if now - self._said_at >= INTERVAL:
            self._said_at = now
            log.warning("the database is not available: %s (%d times)", error, self._failures)

    def over(self) -> None:
        """Note that it was used."""
        since, self.since = self.since, None
        # Of an end whose beginning was not said, nothing is said either.
        if since is not None and self._said_at >= since:
            log.warning(
                "the database is available again after %.1f s and %d failures",
                time.monotonic() - since,
                self._failures,
            )
