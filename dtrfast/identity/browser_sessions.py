"""Sessions of browsers, as their users open, see and end them."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.errors import CredentialUnknown, SignInRequired
from dtrfast.identity import access, accounts, sessions
from dtrfast.identity.account_views import AccountView, view_of
from dtrfast.identity.callers import Caller
from dtrfast.identity.records import SessionRecord
from dtrfast.identity.sessions import NewSession, OpenSession
from dtrfast.identity.use_case import UseCase
from dtrfast.index.engine import WriteTransaction
from dtrfast.registry import listing
from dtrfast.registry.listing import Columns, Listing, ListRequest


@dataclass(frozen=True, slots=True)
class SignedInUser:
    """A user with the record of its session; None without a session, such as with a token."""

    account: AccountView
    record: SessionRecord | None = None


_COLUMNS: Columns[OpenSession] = {
    "text": lambda session: session.remote,
    "remote": lambda session: session.remote,
    "created": lambda session: session.created_at,
}


class BrowserSessions(UseCase):
    """Sessions of browsers, for one caller."""

    def open(self, caller: Caller, remote: str, former_id: str) -> tuple[str, SignedInUser]:
        """Open a session for a user that has just signed in. Return its id and the user.

        Only the browser may keep the id. `former_id` is the browser's former session, which ends,
        or empty.
        """
        now = self._now()
        new = NewSession.make(caller, now, remote)

        def change(transaction: WriteTransaction) -> AccountView:
            if former_id:
                sessions.close_session(transaction, former_id)
            sessions.open_session(transaction, new, now)
            account = accounts.get(transaction, caller.actor)
            return view_of(account, access.standing(transaction, caller))

        return new.id, SignedInUser(self._engine.write(change), new.record)

    def current(self, session_id: str) -> SignedInUser:
        """Return the caller, with the session's record if this session is its credential.

        `session_id` is the browser's, or empty. Raises `SignInRequired`, `TokenInvalid`,
        `AccessRefused`.
        """
        with self._engine.read() as transaction:
            standing = self._permits.standing(transaction)
            account = accounts.find_id(transaction, standing.account_id)
            if account is None:
                raise SignInRequired("you are not signed in")
            view = view_of(account, standing)
            if not session_id or self._permits.caller.method != "session":
                return SignedInUser(view)
            return SignedInUser(view, sessions.find(transaction, session_id, self._now())[1])

    def close(self, session_id: str) -> bool:
        """End a session by its id. Return False if it had ended."""
        return self._engine.write(lambda t: sessions.close_session(t, session_id))

    def page(self, user_name: str, request: ListRequest) -> Listing[OpenSession]:
        """Return a page of a user's open sessions, the latest first. Raises `AccountUnknown`,
        `AccessRefused`.
        """
        now = self._now()
        with self._engine.read() as transaction:
            user = accounts.get(transaction, user_name, "user")
            self._permits.require_self(transaction, user)
            return listing.whole(sessions.of_account(transaction, user, now), request, _COLUMNS)

    def end(self, user_name: str, session_name: str) -> None:
        """End one of a user's sessions, by `OpenSession.id`. Raises `AccountUnknown`,
        `AccessRefused`, `CredentialUnknown`.
        """

        def change(transaction: WriteTransaction) -> bool:
            user = accounts.get(transaction, user_name, "user")
            self._permits.require_self(transaction, user)
            return sessions.close_named(transaction, user.id, session_name)

        if not self._engine.write(change):
            raise CredentialUnknown("there is no such session: it may have ended")
