"""Text of others on a terminal."""

import logging
import unicodedata

import pytest

from segsvc.observability.logs import Lines
from segsvc.observability.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("VOICE 30 %, é, 用户, 🙂", "VOICE 30 %, é, 用户, 🙂"),
        ("no-break\xa0space", "no-break\xa0space"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\r\t\0", r"a\nb\r\t\x00"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_escapes(text: str, shown: str) -> None:
    """What is not to be seen is escaped, and nothing else."""
    assert printable(text) == shown


def test_nothing_passes() -> None:
    """No control, format or surrogate character of Unicode passes."""
    everything = printable("".join(map(chr, range(0x110000))))
    assert not {unicodedata.category(each) for each in everything} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_log_on_a_terminal() -> None:
    """A log line repeats nothing that controls the terminal, in its traceback neither."""
    error = ValueError("\x1b[2J")
    info = (ValueError, error, None)
    record = logging.LogRecord("a", logging.ERROR, "", 1, "\x1b[31m %s", ("\u202e",), info)
    line = Lines().format(record)
    assert all(each.isprintable() for each in line.splitlines())
    assert r"ValueError: \x1b[2J" in line
