"""Conditions that a write meets and that its caller answers for."""

from datetime import datetime


class _OfSlugs(Exception):  # noqa: N818 (conditions that callers ask about)
    def __init__(self, slugs: set[str]) -> None:
        super().__init__(", ".join(sorted(slugs)))
        self.slugs = slugs


class SegmentsNotLive(_OfSlugs):
    """These slugs name no live segment; nothing was changed."""


class PlanPending(Exception):  # noqa: N818 (a condition that callers ask about)
    """The percentage of the segment is planned, and the request does not say what becomes of it."""


class PlanChanged(Exception):  # noqa: N818 (a condition that callers ask about)
    """The plan is not the one that the request names; nothing was changed."""


class PastStep(Exception):  # noqa: N818 (a condition that callers ask about)
    """The first step of a plan is not in the future; nothing was changed."""


class StepAfterEnd(Exception):  # noqa: N818 (a condition that callers ask about)
    """A step of the plan would not be before the end of the segment; nothing was changed."""

    def __init__(self, index: int, at: datetime) -> None:
        super().__init__(index)
        self.index = index
        self.at = at


class PastEnd(Exception):  # noqa: N818 (a condition that callers ask about)
    """The planned end of a segment is not in the future; nothing was changed."""


class PastPreview(Exception):  # noqa: N818 (a condition that callers ask about)
    """The time of a preview is over."""


class PastStart(_OfSlugs):
    """The memberships in these segments would have started already; nothing was changed."""

    detail = "is not in the future"


class StartAfterEnd(_OfSlugs):
    """The memberships would not start before the ends of these segments; nothing was changed."""

    detail = "is not before the planned end of the segment"


class PastExpiry(_OfSlugs):
    """The memberships in these segments would end before they begin; nothing was changed."""

    detail = "is not after the start, now or starts_at"
