"""The words of the console: flat catalogues, one a language."""

import json
import re
from functools import cache
from pathlib import Path

CATALOGUES = Path(__file__).parent / "locales"
LANGUAGES = ("en", "ru")

# The plural forms of Russian: one, few, many. English has one and many.
_ONE, _FEW, _MANY = range(3)


@cache
def catalogue(language: str) -> dict[str, str]:
    """Return the texts of a language by their names."""
    texts: dict[str, str] = json.loads((CATALOGUES / f"{language}.json").read_text("utf-8"))
    return texts


def choose(asked: str | None, accepted: str) -> str:
    """Return the language that was asked for, else the first accepted one that there is.

    `accepted` is the header Accept-Language (RFC 9110, section 12.5.4).
    """
    if asked in LANGUAGES:
        return asked
    weighted: list[tuple[float, int, str]] = []
    for part in accepted.lower().split(","):
        name, _, weight = (each.strip() for each in part.partition(";"))
        found = re.fullmatch(
            r"([a-z]{1,8})(?:-[a-z0-9]+)*(?:;q=([01](?:\.\d{0,3})?))?",
            (f"{name};{weight}" if weight else name),
        )
        if found and found[1] in LANGUAGES:
            weighted.append((-float(found[2] or 1), len(weighted), found[1]))
    return min(weighted)[2] if weighted else LANGUAGES[0]


class Texts:
    """The texts of one language, with their values put in."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = catalogue(language)

    def __call__(self, name: str, /, **values: object) -> str:
        """Return a text; with a `count`, the form for it: forms are separated by ` | `."""
        text = self._texts[name]
        if isinstance(count := values.get("count"), int):
            forms = text.split(" | ")
            text = forms[min(self._form(count), len(forms) - 1)]
            values["count"] = self.number(count)
        return text.format(**values)

    def get(self, name: str, default: str) -> str:
        """Return a text without values, or `default` if there is none of this name."""
        return self._texts.get(name, default)

    def number(self, value: float) -> str:
        """Return a number with its thousands apart."""
        return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")

    def _form(self, count: int) -> int:
        if self.language == "en":
            return _ONE if count == 1 else _FEW
        if count % 10 == 1 and count % 100 != 11:  # noqa: PLR2004 (the rule of the language)
            return _ONE
        few = count % 10 in {2, 3, 4} and count % 100 not in {12, 13, 14}
        return _FEW if few else _MANY
