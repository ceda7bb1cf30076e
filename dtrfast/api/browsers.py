"""Browsers: their cookies, and the origin of requests that change something.

Over TLS a cookie's name begins with `__Host-` (RFC 6265bis section 4.1.3.2). Browsers accept such a
cookie only from this host over TLS, so neither another host of the domain nor a plain connection
can set one. Over TLS a cookie without the prefix is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from dtrfast.api import challenge
from dtrfast.api.types import ApiContext
from dtrfast.errors import AccessRefused

# Names without the prefix. An account's id follows the second.
SESSION = "dtrfast_session"
KNOWN = "dtrfast_known_"
SECURE_PREFIX = "__Host-"

_KNOWN_MAX = 20  # accounts that one browser has proofs of


def is_secure(context: ApiContext, scope: Scope) -> bool:
    """Return True if the browser uses TLS, to this server or to a proxy in front of it."""
    external = challenge.external_url(context, scope)
    return scope["scheme"] == "https" or external.startswith("https:")


def cookie_name(name: str, *, is_secure: bool) -> str:
    """Return the name of a cookie on this connection."""
    return SECURE_PREFIX + name if is_secure else name


def cookie(name: str, value: str, seconds: int, *, is_secure: bool, same_site: str = "Lax") -> str:
    """Return the value of a Set-Cookie header. 0 seconds remove the cookie. Scripts cannot read it.

    With `Lax` browsers send the cookie when a user follows a link from another site, with `Strict`
    they do not.
    """
    secure = "; Secure" if is_secure else ""
    name = cookie_name(name, is_secure=is_secure)
    return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}"


def cookie_of(headers: Headers, name: str, *, is_secure: bool) -> str:
    """Return a cookie's value; empty if there is none. Other cookies of this host may have any form
    (RFC 6265 section 5.4 has no escapes).
    """
    wanted = cookie_name(name, is_secure=is_secure)
    return next((value for found, value in _cookies(headers) if found == wanted), "")


def known_proofs(headers: Headers, *, is_secure: bool) -> dict[str, str]:
    """Return the browser's proofs of accounts that signed in with it, by account id."""
    prefix = cookie_name(KNOWN, is_secure=is_secure)
    found = ((n.removeprefix(prefix), v) for n, v in _cookies(headers) if n.startswith(prefix))
    return dict(islice(found, _KNOWN_MAX))


def _cookies(headers: Headers) -> Iterator[tuple[str, str]]:
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            name, _, value = pair.strip().partition("=")
            yield name, value.strip('"')


def refuse_other_sites(context: ApiContext, scope: Scope, headers: Headers) -> None:
    """Raise `AccessRefused` if a browser sent the request from a page of another site."""
    origin = headers.get("origin")
    if origin is None:
        return
    theirs, ours = urlsplit(origin), urlsplit(challenge.external_url(context, scope))
    if _authority(theirs.netloc, theirs.scheme) != _authority(ours.netloc, theirs.scheme):
        raise AccessRefused("only this server's own pages may send requests that change something")


def _authority(authority: str, scheme: str) -> str:
    """Return a host as browsers write it in an origin: in lower case, without the default port.

    A proxy may send the default port in Host. The scheme is the origin's, so a proxy that does not
    report its own scheme works as well.
    """
    return authority.lower().removesuffix({"https": ":443", "http": ":80"}.get(scheme, ""))
