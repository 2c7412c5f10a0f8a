"""Roles of API keys."""

from enum import StrEnum


class Role(StrEnum):
    """What a key is good for."""

    READER = "reader"  # reads users
    FOLLOWER = "follower"  # reads users, lists members, follows the feed
    EDITOR = "editor"  # does everything

    def does(self, role: "Role") -> bool:
        """Return whether a key with this role does what `role` is needed for."""
        return _ORDER[self] >= _ORDER[role]


_ORDER = {role: place for place, role in enumerate(Role)}
