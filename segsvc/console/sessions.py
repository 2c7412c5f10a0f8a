"""Who looks at a page: the session of a key, or everyone while the service is open."""

import time
from urllib.parse import urlsplit

from aiohttp import web

from segsvc.auth import sessions
from segsvc.auth.keys import ANONYMOUS, BEARER, KEY_CACHE, Caller
from segsvc.http.problems import KeyRequired

COOKIE = "segsvc-session"

SECRET = web.AppKey("session_secret", str)


async def caller_of(request: web.Request) -> Caller | None:
    """Return who looks at a page, None if the sender has to sign in.

    Raises:
        Unavailable: the keys cannot be read.
    """
    keys = request.app[KEY_CACHE]
    if keys.open:
        return ANONYMOUS
    name = sessions.verify(request.cookies.get(COOKIE, ""), time.time(), request.app[SECRET])
    return await keys.caller_of(name) if name else None


async def sign_in(request: web.Request, key: str, response: web.Response) -> bool:
    """Give `response` the cookie of a session if the key is valid; return whether it is.

    Raises:
        Unavailable: the keys cannot be read.
    """
    try:
        caller = await request.app[KEY_CACHE].caller(BEARER + key.strip())
    except KeyRequired:
        return False
    if caller.name:
        response.set_cookie(
            COOKIE,
            sessions.sign(caller.name, time.time(), request.app[SECRET]),
            max_age=sessions.LIFETIME,
            path="/console",
            httponly=True,
            samesite="Strict",
            secure=request.scheme == "https",
        )
    return True


def is_same_origin(request: web.Request) -> bool:
    """Return whether a form was sent by a page of this service.

    Browsers say so in Sec-Fetch-Site (W3C Fetch Metadata), older ones in Origin. A client
    that sends neither is not a browser, so no other page can make it send the cookie.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("Origin")
    try:
        return origin is None or urlsplit(origin).netloc == request.host
    except ValueError:  # it is not a URL
        return False
