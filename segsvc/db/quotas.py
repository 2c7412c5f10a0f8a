"""Quotas: how many users who ask with one API key may become known in a second."""

from collections import defaultdict
from time import monotonic

from segsvc.observability import metrics


class QuotaUsedUp(Exception):  # noqa: N818 (a state, not a mistake)
    """The key has made as many users known as it may for now: `rate` a second."""

    def __init__(self, rate: int) -> None:
        super().__init__(rate)
        self.rate = rate


class Quota:
    """The quota of one key: `rate` users a second. A request may exceed it; the next ones wait."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._left = float(rate)
        self._at = monotonic()

    def take(self, count: int) -> None:
        """Take `count` users from the quota.

        Raises:
            QuotaUsedUp: nothing is left; nothing was taken.
        """
        now = monotonic()
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left <= 0:
            metrics.REFUSED_USERS.inc(count)
            raise QuotaUsedUp(self._rate)
        self._left -= count

    def give_back(self, count: int) -> None:
        """Give back what was taken for users who were known already."""
        self._left += count


class Quotas(defaultdict[str | None, Quota]):
    """The quotas by the names of the keys, None for requests without one."""

    def __init__(self, rate: int) -> None:
        super().__init__(lambda: Quota(rate))
