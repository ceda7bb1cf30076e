"""Operations on sessions of browsers: sign-in, sign-out, and their list."""

from __future__ import annotations

from typing import Literal

from dtrfast.api import browsers
from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.lists import WholeQuery
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.identity import known_browsers, sessions
from dtrfast.identity.browser_sessions import BrowserSessions, SignedInUser
from dtrfast.identity.sessions import OpenSession

operations = Operations("sessions")


@operations.add("POST", "/sessions", status=201, audience="everyone")
def sign_in(call: ApiCall, body: objects.SignInForm) -> objects.Session:
    """Sign in: the answer sets the session's cookie, and has its CSRF token."""
    caller = call.identity.sign_in.password(body.username, body.password, call.origin)
    session_id, user = call.use(BrowserSessions).open(caller, call.remote, call.session_id)
    account = user.account.account
    proof = call.identity.sign_in.known_browser(account, call.origin)
    _set_cookie(call, f"{browsers.KNOWN}{account.id}", proof, known_browsers.LIFE_SECONDS, "Strict")
    _keep_session(call, session_id, sessions.LIFE_SECONDS)
    return _session(user, local_path(body.next))


def _session(user: SignedInUser, next_path: str = "/") -> objects.Session:
    records = () if user.record is None else (user.record,)
    account = views.account(user.account)
    return views.show(objects.Session, *records, account=account, next=next_path)


@operations.add("GET", "/sessions/current")
def get_session(call: ApiCall) -> objects.Session:
    """Show the signed-in user, and the CSRF token of its session."""
    return _session(call.use(BrowserSessions).current(call.session_id))


@operations.add("DELETE", "/sessions/current", audience="everyone")
def sign_out(call: ApiCall) -> None:
    """Sign out: end the session and remove its cookie."""
    if call.session_id and call.use(BrowserSessions).close(call.session_id):
        call.note("sign-out", "session")
    _keep_session(call, "", 0)


class SessionsQuery(WholeQuery, frozen=True, rename="camel", kw_only=True):
    """`filter` is a part of the address of a sign-in."""

    sort: Literal["created", "-created", "remote", "-remote"] = "-created"


@operations.add("GET", "/accounts/{name}/sessions")
def list_sessions(call: ApiCall, query: SessionsQuery) -> objects.Sessions:
    """List the browsers in which a user is signed in."""
    mine = sessions.name_of(call.session_id) if call.session_id else ""
    page = call.use(BrowserSessions).page(call.path["name"], query.request)

    def view(session: OpenSession) -> objects.OpenSession:
        return views.show(objects.OpenSession, session, is_current=session.id == mine)

    return views.page(objects.Sessions, page, "sessions", view)


@operations.add("DELETE", "/accounts/{name}/sessions/{session}")
def delete_session(call: ApiCall) -> None:
    """End one of a user's sessions."""
    call.use(BrowserSessions).end(call.path["name"], call.path["session"])
    call.note("session.end", call.path["name"])


def _keep_session(call: ApiCall, session_id: str, seconds: int) -> None:
    """Set the cookie of the session, last: clients that keep one cookie keep the last."""
    if call.is_secure:  # older versions used this name; other hosts of the domain can set it
        call.cookies.append(browsers.cookie(browsers.SESSION, "", 0, is_secure=False))
    _set_cookie(call, browsers.SESSION, session_id, seconds)


def _set_cookie(call: ApiCall, name: str, value: str, seconds: int, same_site: str = "Lax") -> None:
    call.cookies.append(
        browsers.cookie(name, value, seconds, is_secure=call.is_secure, same_site=same_site)
    )


def local_path(wanted: str) -> str:
    """Return the page to open after the sign-in: a path of this server, else its front page.

    Browsers open another server for `//host` and `/\\host`, and ignore tabs and line ends.
    """
    plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted
    return wanted if plain and wanted.startswith("/") and not wanted.startswith("//") else "/"
