"""Roles of API keys."""

from enum import StrEnum


class Role(StrEnum):
    """What a key is good for."""

    READER = "reader"  # reads users
    EDITOR = "editor"  # does everything
