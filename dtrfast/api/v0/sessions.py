"""Signing in with a browser, and out again."""

from __future__ import annotations

from functools import partial
from typing import Literal

from dtrfast.api import browsers
from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.lists import Columns, WholeQuery, whole
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.errors import CredentialUnknown, SignInRequired
from dtrfast.identity import access, accounts, known_browsers, sessions
from dtrfast.identity.records import Account
from dtrfast.identity.sessions import NewSession
from dtrfast.index.engine import WriteTransaction
from dtrfast.times import rfc3339

operations = Operations("sessions")


@operations.add(
    "POST",
    "/sessions",
    answer=objects.Session,
    status=201,
    body=objects.SignInForm,
    refusals=(400, 401, 429, 503),
    audience="everyone",
)
def sign_in(call: ApiCall) -> objects.Session:
    """Sign in: the answer sets a cookie, and has the CSRF token for it."""
    body: objects.SignInForm = call.body
    identity = call.identity
    now = identity.clock()
    caller = identity.sign_in.password(body.username, body.password, call.origin)
    new = NewSession.make(caller, now, call.remote)
    if call.session_id:
        identity.engine.write(partial(sessions.close_session, session_id=call.session_id))
    identity.engine.write(partial(sessions.open_session, new=new, now=now))
    with identity.engine.read() as transaction:
        account = accounts.get(transaction, caller.actor)
        standing = access.standing(transaction, caller)
    _keep_known(call, account)
    _keep_session(call, new.id, sessions.LIFE_SECONDS)
    return objects.Session(
        account=views.account(account, standing),
        csrf_token=new.record.csrf_token,
        expires_at=rfc3339(new.record.expires_at),
        next=local_path(body.next),
    )


@operations.add("GET", "/sessions/current", answer=objects.Session, refusals=(401,))
def get_session(call: ApiCall) -> objects.Session:
    """Show who is signed in, and the CSRF token of the session if it is one."""
    with call.identity.engine.read() as transaction:
        standing = call.standing(transaction)
        account = accounts.find_id(transaction, standing.account_id)
        if account is None:
            raise SignInRequired("nobody is signed in")
        shown = views.account(account, standing)
        if not call.session_id or call.caller.method != "session":
            return objects.Session(account=shown)
        _, record = sessions.find(transaction, call.session_id, call.identity.clock())
        return objects.Session(
            account=shown,
            csrf_token=record.csrf_token,
            expires_at=rfc3339(record.expires_at),
        )


@operations.add("DELETE", "/sessions/current", audience="everyone")
def sign_out(call: ApiCall) -> None:
    """Sign out: the session ends, and its cookie goes."""
    if call.session_id:
        close = partial(sessions.close_session, session_id=call.session_id)
        if call.identity.engine.write(close):
            call.note("sign-out", "session")
    _keep_session(call, "", 0)


class SessionsQuery(WholeQuery, frozen=True, rename="camel", kw_only=True):
    """`filter` is a part of the address that somebody signed in from."""

    sort: Literal["created", "-created", "remote", "-remote"] = "-created"


_COLUMNS: Columns[sessions.OpenSession] = {
    "text": lambda session: session.remote,
    "remote": lambda session: session.remote,
    "created": lambda session: session.created_at,
}


@operations.add(
    "GET",
    "/accounts/{name}/sessions",
    answer=objects.Sessions,
    query=SessionsQuery,
    refusals=(404,),
)
def list_sessions(call: ApiCall) -> objects.Sessions:
    """List where a user is signed in with a browser."""
    now = call.identity.clock()
    mine = sessions.name_of(call.session_id) if call.session_id else ""
    with call.identity.engine.read() as transaction:
        user = accounts.get(transaction, call.path["name"], "user")
        call.require_self(transaction, user)
        page, more = whole(sessions.of_account(transaction, user, now), call.query, _COLUMNS)
    return objects.Sessions(
        sessions=[_open_session(session, mine) for session in page], next_page_start=more
    )


def _open_session(session: sessions.OpenSession, mine: str) -> objects.OpenSession:
    return objects.OpenSession(
        id=session.id,
        created_at=rfc3339(session.created_at),
        expires_at=rfc3339(session.expires_at),
        remote=session.remote,
        is_current=session.id == mine,
    )


@operations.add("DELETE", "/accounts/{name}/sessions/{session}", refusals=(404,))
def delete_session(call: ApiCall) -> None:
    """End one of a user's sessions."""

    def change(transaction: WriteTransaction) -> bool:
        user = accounts.get(transaction, call.path["name"], "user")
        call.require_self(transaction, user)
        return sessions.close_named(transaction, user.id, call.path["session"])

    if not call.identity.engine.write(change):
        raise CredentialUnknown("there is no such session: it may have ended")
    call.note("session.end", call.path["name"])


def _keep_known(call: ApiCall, account: Account) -> None:
    """Let the browser prove at later sign-ins that this account used it."""
    proof = call.identity.sign_in.known_browser(account, call.origin)
    name, seconds = f"{browsers.KNOWN}{account.id}", known_browsers.LIFE_SECONDS
    call.cookies.append(
        browsers.cookie(name, proof, seconds, is_secure=call.is_secure, same_site="Strict")
    )


def _keep_session(call: ApiCall, session_id: str, seconds: int) -> None:
    """Give the browser the session, last: clients that keep one cookie keep the last."""
    if call.is_secure:  # a version before used this name; other hosts of the domain can set it
        call.cookies.append(browsers.cookie(browsers.SESSION, "", 0, is_secure=False))
    call.cookies.append(
        browsers.cookie(browsers.SESSION, session_id, seconds, is_secure=call.is_secure)
    )


def local_path(wanted: str) -> str:
    """Where to go after the sign-in: a path of this server, else its front page.

    Browsers take `//host` and `/\\host` for other servers, and drop tabs and line ends.
    """
    plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted
    return wanted if plain and wanted.startswith("/") and not wanted.startswith("//") else "/"
