"""Conditions that a write meets and that its caller answers for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True)
class Conflict:
    """A user who is to be added to a segment is by hand in another segment of the layer.

    Attributes:
        slug: the segment to add to.
        elsewhere: the other segment, in which the user is or will be.
        ends_at: until when; None without an end.
        user_id: the user.
        place: of the user among the ids of a file, from 1.
    """

    slug: str
    elsewhere: str
    ends_at: datetime | None
    user_id: int = 0
    place: int = 0


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


class NotEnoughFree(Exception):  # noqa: N818 (a condition that callers ask about)
    """The layer has no more than `percent` for a segment from a time on; nothing was changed."""

    def __init__(self, slug: str, percent: Decimal, at: datetime) -> None:
        super().__init__(slug)
        self.slug = slug
        self.percent = percent
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


class EndTooFar(PastExpiry):
    """The memberships in these segments would end after the year 9999; nothing was changed."""

    detail = "is too long: the membership would end after the year 9999"


class LayerNotLive(Exception):  # noqa: N818 (a condition that callers ask about)
    """The slug names no live layer; nothing was changed."""


class InAnotherLayer(_OfSlugs):
    """These segments are in another layer; nothing was changed."""

    def __init__(self, layers: dict[str, str]) -> None:
        super().__init__(set(layers))
        self.layers = layers


class NotInLayer(_OfSlugs):
    """These segments are not in the layer; nothing was changed."""

    detail = "is not in the layer"


class TooManySegments(Exception):  # noqa: N818 (a condition that callers ask about)
    """The layer would have too many segments; nothing was changed."""


class SameLayer(_OfSlugs):
    """These segments, to which one user would be added, are in one layer; nothing was changed."""

    detail = "is in one layer with another segment of this list"


class ElsewhereInLayer(Exception):  # noqa: N818 (a condition that callers ask about)
    """Users are by hand in another segment of the layer; nothing was changed."""

    def __init__(self, conflicts: Sequence[Conflict]) -> None:
        super().__init__(len(conflicts))
        self.conflicts = conflicts
