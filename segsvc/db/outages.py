"""Logging of what is wrong with the database: once when it begins, once when it is over."""

import logging
import time

# Seconds between two log lines during an outage.
INTERVAL = 10.0

log = logging.getLogger(__name__)


class Outage:
    """The current outage of the database, if there is one.

    Attributes:
        since: start of the outage on the monotonic clock, in seconds; None without an outage.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        self._failures = 0
        self._said_at = -INTERVAL

    def failed(self, error: BaseException) -> None:
        """Record that the database could not be used."""
        now = time.monotonic()
        if self.since is None:
            self.since, self._failures = now, 0
        self._failures += 1
        if now - self._said_at >= INTERVAL:
            self._said_at = now
            log.warning("the database is not available: %s (%d times)", error, self._failures)

    def over(self) -> None:
        """Record that the database was used."""
        since, self.since = self.since, None
        # The end of an outage is logged only if its start was.
        if since is not None and self._said_at >= since:
            log.warning(
                "the database is available again after %.1f s and %d failures",
                time.monotonic() - since,
                self._failures,
            )


class Faults:
    """What the database refuses, such as writes: each kind is logged once, until all are over."""

    def __init__(self) -> None:
        self._found: set[str] = set()

    def found(self, kind: str, text: str) -> None:
        """Record a fault of a kind; the first one of a kind is logged."""
        if kind not in self._found:
            self._found.add(kind)
            log.warning("%s", text)

    def over(self) -> None:
        """Record that nothing is refused any more."""
        if self._found:
            self._found.clear()
            log.warning("the database refuses nothing any more")
