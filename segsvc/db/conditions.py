"""Conditions that a write meets and that its caller answers for."""


class _OfSlugs(Exception):  # noqa: N818 (conditions that callers ask about)
    def __init__(self, slugs: set[str]) -> None:
        super().__init__(", ".join(sorted(slugs)))
        self.slugs = slugs


class SegmentsNotLive(_OfSlugs):
    """These slugs name no live segment; nothing was changed."""


class PastExpiry(_OfSlugs):
    """The memberships in these segments would have ended already; nothing was changed."""
