"""Sessions of the console: a signed cookie instead of a key in each request."""

import base64
import hashlib
import hmac
import re

# Seconds.
LIFETIME = 12 * 3600

_COOKIE = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,63})\.(\d{1,12})\.([\w-]{43})", re.ASCII)


def sign(name: str, now: float, secret: str) -> str:
    """Return the cookie of a session of a key, valid for `LIFETIME` from `now` on."""
    return _signed(name, int(now) + LIFETIME, secret)


def verify(cookie: str, now: float, secret: str) -> str | None:
    """Return the name of the key of a session; None if the cookie is none of ours, or too old."""
    found = _COOKIE.fullmatch(cookie)
    if not found:
        return None
    name, end = found[1], int(found[2])
    genuine = hmac.compare_digest(cookie, _signed(name, end, secret))
    return name if genuine and now < end else None


def _signed(name: str, end: int, secret: str) -> str:
    text = f"{name}.{end}"
    # A link to a report is signed by the same secret: the prefix keeps the two apart.
    digest = hmac.digest(secret.encode(), f"session:{text}".encode(), hashlib.sha256)
    return f"{text}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
