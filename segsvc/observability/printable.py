"""Text of others, made safe for a terminal."""

from unicodedata import category

# Control characters run commands of a terminal; format characters, the bidirectional overrides
# among them, change the order in which the rest is read; surrogates cannot be written.
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    r"""Return `text` with its unsafe characters escaped as in Python: `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(
        each.encode("unicode_escape").decode() if category(each) in _UNSAFE else each
        for each in text
    )
