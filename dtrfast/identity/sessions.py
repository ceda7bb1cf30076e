"""Sessions of browsers: functions over a transaction.

A session's id is 32 random bytes that only the browser has; its SHA-256 is stored. Each sign-in
makes a new one, so nobody can hand somebody a session and wait for them to sign in to it. Requests
that change something carry the session's CSRF token, which no other site can read.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from dtrfast.errors import TokenInvalid
from dtrfast.identity import accounts, records
from dtrfast.identity.callers import Caller
from dtrfast.identity.records import Account, SessionRecord
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import SESSIONS

# A working day; then one signs in again.
LIFE_SECONDS = 12 * 3600
# What an open of a session looks over for ones that have expired.
_SWEPT_MAX = 20
# Half of a SHA-256 in hex: enough to name one, and not what is looked up.
_NAME_LENGTH = 32


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that is to be opened: its id, for the browser, and what is kept of it."""

    id: str
    record: SessionRecord

    @staticmethod
    def make(caller: Caller, now: int, remote: str) -> NewSession:
        record = SessionRecord(
            version=1,
            account_id=caller.account_id,
            generation=caller.generation,
            created_at=now,
            expires_at=now + LIFE_SECONDS,
            csrf_token=secrets.token_urlsafe(24),
            remote=remote,
        )
        return NewSession(secrets.token_urlsafe(32), record)


def open_session(transaction: WriteTransaction, new: NewSession, now: int) -> None:
    """Keep a session; a few that have expired go."""
    key = _key(new.id)
    for old, data in list(transaction.scan(SESSIONS, after=key, limit=_SWEPT_MAX)):
        if records.sessions.decode(data).expires_at <= now:
            transaction.delete(SESSIONS, old)
    transaction.put(SESSIONS, key, records.sessions.encode(new.record))


def find(transaction: ReadTransaction, session_id: str, now: int) -> tuple[Caller, SessionRecord]:
    """Whose session it is. Raises `TokenInvalid`."""
    data = transaction.get(SESSIONS, _key(session_id))
    record = None if data is None else records.sessions.decode(data)
    account = None if record is None else accounts.find_id(transaction, record.account_id)
    if (
        record is None
        or account is None
        or not account.is_active
        or record.generation != account.generation
        or record.expires_at <= now
    ):
        raise TokenInvalid("the session has ended: sign in again")
    caller = Caller(
        kind="user",
        actor=account.name,
        method="session",
        account_id=account.id,
        generation=record.generation,
        expires_at=record.expires_at,
    )
    return caller, record


def close_session(transaction: WriteTransaction, session_id: str) -> bool:
    """End it; False if there was none."""
    return transaction.delete(SESSIONS, _key(session_id))


def is_csrf_token(record: SessionRecord, text: str) -> bool:
    return are_equal(record.csrf_token, text)


def are_equal(secret: str, text: str) -> bool:
    """Whether they are; takes as long for any text."""
    return hmac.compare_digest(secret.encode(), text.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session as its user sees it. `id` names it, and lets nobody in."""

    id: str
    created_at: int
    expires_at: int
    remote: str


def of_account(transaction: ReadTransaction, account: Account, now: int) -> list[OpenSession]:
    """The open sessions of a user, the latest first. Reads all sessions, which are few."""
    found = [
        OpenSession(key.hex()[:_NAME_LENGTH], record.created_at, record.expires_at, record.remote)
        for key, data in transaction.scan(SESSIONS)
        if (record := records.sessions.decode(data)).account_id == account.id
        and record.generation == account.generation
        and record.expires_at > now
    ]
    return sorted(found, key=lambda session: session.created_at, reverse=True)


def name_of(session_id: str) -> str:
    """What `OpenSession` calls the session with this id."""
    return _key(session_id).hex()[:_NAME_LENGTH]


def close_named(transaction: WriteTransaction, account_id: int, name: str) -> bool:
    """End a user's session, by its name; False if there is none."""
    for key, data in transaction.scan(SESSIONS):
        if key.hex()[:_NAME_LENGTH] == name:
            if records.sessions.decode(data).account_id == account_id:
                return transaction.delete(SESSIONS, key)
            return False
    return False


def _key(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).digest()
