"""Browsers: their cookies, and where requests come from that change something.

Over TLS a cookie's name begins with `__Host-` (RFC 6265bis section 4.1.3.2): browsers then take it
from this host over TLS only, so neither another host of the domain nor a plain connection can
plant one. A cookie without the prefix does not count there.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from dtrfast.api import challenge
from dtrfast.api.types import Context
from dtrfast.errors import Denied, TokenInvalid
from dtrfast.identity import sessions
from dtrfast.identity.callers import Caller
from dtrfast.identity.identity import Identity
from dtrfast.identity.records import SessionRecord

# Names without the prefix. The second is followed by an account's id.
SESSION = "dtrfast_session"
KNOWN = "dtrfast_known_"
SECURE_PREFIX = "__Host-"

_KNOWN_MAX = 20  # accounts that one browser keeps proofs of


def is_secure(context: Context, scope: Scope) -> bool:
    """True if the browser speaks TLS, to this server or to a proxy before it."""
    external = challenge.external_url(context, scope)
    return scope["scheme"] == "https" or external.startswith("https:")


def cookie_name(name: str, *, is_secure: bool) -> str:
    """The name that a cookie has on this connection."""
    return SECURE_PREFIX + name if is_secure else name


def cookie(name: str, value: str, seconds: int, *, is_secure: bool, same_site: str = "Lax") -> str:
    """The Set-Cookie header; 0 seconds remove the cookie. Scripts cannot read it. With `Lax`
    browsers send it with a link from another site, which changes nothing; with `Strict` not even
    then.
    """
    secure = "; Secure" if is_secure else ""
    name = cookie_name(name, is_secure=is_secure)
    return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}"


def cookie_of(headers: Headers, name: str, *, is_secure: bool) -> str:
    """A cookie's value; empty where there is none. Others of this host, in whatever form, are left
    alone (RFC 6265 section 5.4 has no escapes).
    """
    wanted = cookie_name(name, is_secure=is_secure)
    return next((value for found, value in _cookies(headers) if found == wanted), "")


def known_proofs(headers: Headers, *, is_secure: bool) -> dict[str, str]:
    """The proofs that the browser shows of accounts that signed in with it, by account id."""
    prefix = cookie_name(KNOWN, is_secure=is_secure)
    found = ((n.removeprefix(prefix), v) for n, v in _cookies(headers) if n.startswith(prefix))
    return dict(islice(found, _KNOWN_MAX))


def _cookies(headers: Headers) -> Iterator[tuple[str, str]]:
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            name, _, value = pair.strip().partition("=")
            yield name, value.strip('"')


def find_session(identity: Identity, session_id: str) -> tuple[Caller, SessionRecord] | None:
    """Whose session it is; None where it has ended."""
    try:
        with identity.engine.read() as transaction:
            return sessions.find(transaction, session_id, identity.clock())
    except TokenInvalid:
        return None


def refuse_other_sites(context: Context, scope: Scope, headers: Headers) -> None:
    """Browsers say where a request comes from that changes something. Raises `Denied`."""
    origin = headers.get("origin")
    if origin is None:
        return
    theirs, ours = urlsplit(origin), urlsplit(challenge.external_url(context, scope))
    if _authority(theirs.netloc, theirs.scheme) != _authority(ours.netloc, theirs.scheme):
        raise Denied("requests that change something come from this server's own pages only")


def _authority(authority: str, scheme: str) -> str:
    """A host as browsers write it in an origin: in lower case, without the scheme's own port.

    Proxies may name that port in Host, and a proxy that does not tell the scheme is let in, too.
    """
    return authority.lower().removesuffix({"https": ":443", "http": ":80"}.get(scheme, ""))
