"""Browsers: the cookie of a session, and where requests come from that change something."""

from __future__ import annotations

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

COOKIE = "dtrfast_session"


def cookie_of(headers: Headers, name: str) -> str:
    """A cookie's value; empty where there is none. Others of this host, in whatever form, are left
    alone (RFC 6265 section 5.4 has no escapes).
    """
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            found, _, value = pair.strip().partition("=")
            if found == name:
                return value.strip('"')
    return ""


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
