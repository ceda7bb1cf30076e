"""Sessions of browsers: functions over a transaction.

A session's id is 32 random bytes that only the browser has. The index has its SHA-256. Each sign-in
creates a new id, so an attacker cannot plant a session before the user signs in (session fixation).
A request that changes something must carry the session's CSRF token, which no other site can read.

A second table has the sessions of each account, the oldest first. A user has at most
`SESSIONS_MAX`. A further sign-in ends the oldest session.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from dtrfast.errors import TokenInvalid
from dtrfast.identity import accounts, records
from dtrfast.identity.callers import Caller
from dtrfast.identity.records import Account, SessionRecord
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    ACCOUNT_SESSIONS,
    META,
    NUMBER_SIZE,
    SESSIONS,
    number_key,
)

# A working day. Then the user has to sign in again.
LIFE_SECONDS = 12 * 3600
# Sessions of one user. A script that signs in and never out must not fill the index.
SESSIONS_MAX = 100
# Each new session checks this many others, and removes those that have expired.
_SWEPT_MAX = 20
# Half of a SHA-256 in hexadecimal: it identifies a session, and cannot be used as its key.
_NAME_LENGTH = 32
# This key exists once all sessions are in both tables. An older version had only the first table.
_LISTED = b"sessions_listed"


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to open: its id, which only the browser gets, and its record."""

    id: str
    record: SessionRecord

    @staticmethod
    def make(caller: Caller, now: int, remote: str) -> NewSession:
        """Return a session with new secrets for a user that signed in from `remote`."""
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
    """Store a session. Remove a few that have expired, and the user's oldest if it has too many."""
    if transaction.get(META, _LISTED) is None:
        for other, data in transaction.scan(SESSIONS):
            transaction.put(ACCOUNT_SESSIONS, _row(other, records.sessions.decode(data)), b"")
        transaction.put(META, _LISTED, b"1")
    key = _key(new.id)
    for old, data in list(transaction.scan(SESSIONS, after=key, limit=_SWEPT_MAX)):
        record = records.sessions.decode(data)
        if record.expires_at <= now:
            _remove(transaction, old, record)
    kept = list(_of_account(transaction, new.record.account_id))
    for old, record in kept[: max(0, len(kept) + 1 - SESSIONS_MAX)]:
        _remove(transaction, old, record)
    transaction.put(SESSIONS, key, records.sessions.encode(new.record))
    transaction.put(ACCOUNT_SESSIONS, _row(key, new.record), b"")


def find(transaction: ReadTransaction, session_id: str, now: int) -> tuple[Caller, SessionRecord]:
    """Return the user of a session, and its record. Raises `TokenInvalid` if it has ended."""
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
    """End a session by its id. Return False if there was none."""
    key = _key(session_id)
    data = transaction.get(SESSIONS, key)
    if data is None:
        return False
    _remove(transaction, key, records.sessions.decode(data))
    return True


def is_csrf_token(record: SessionRecord, text: str) -> bool:
    """Return True if the text is the session's CSRF token."""
    return are_equal(record.csrf_token, text)


def are_equal(secret: str, text: str) -> bool:
    """Return True if both are equal. The time does not depend on the text."""
    return hmac.compare_digest(secret.encode(), text.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session as its user sees it. `id` is only a name: it cannot be used as a credential."""

    id: str
    created_at: int
    expires_at: int
    remote: str


def of_account(transaction: ReadTransaction, account: Account, now: int) -> list[OpenSession]:
    """Return the open sessions of a user, the latest first."""
    found = [
        OpenSession(key.hex()[:_NAME_LENGTH], record.created_at, record.expires_at, record.remote)
        for key, record in _of_account(transaction, account.id)
        if record.generation == account.generation and record.expires_at > now
    ]
    return sorted(found, key=lambda session: session.created_at, reverse=True)


def name_of(session_id: str) -> str:
    """Return `OpenSession.id` for the session with this secret id."""
    return _key(session_id).hex()[:_NAME_LENGTH]


def close_named(transaction: WriteTransaction, account_id: int, name: str) -> bool:
    """End a user's session by `OpenSession.id`. Return False if there is none."""
    for key, record in list(_of_account(transaction, account_id)):
        if key.hex()[:_NAME_LENGTH] == name:
            _remove(transaction, key, record)
            return True
    return False


def _of_account(
    transaction: ReadTransaction, account_id: int
) -> Iterator[tuple[bytes, SessionRecord]]:
    """Yield the keys and records of an account's sessions, also expired ones, the oldest first.

    Before `_LISTED` exists, the order is that of the keys.
    """
    if transaction.get(META, _LISTED) is None:
        for key, every in transaction.scan(SESSIONS):
            record = records.sessions.decode(every)
            if record.account_id == account_id:
                yield key, record
        return
    for row, _ in transaction.scan(ACCOUNT_SESSIONS, number_key(account_id)):
        key = row[2 * NUMBER_SIZE :]
        data = transaction.get(SESSIONS, key)
        if data is not None:
            yield key, records.sessions.decode(data)


def _remove(transaction: WriteTransaction, key: bytes, record: SessionRecord) -> None:
    transaction.delete(SESSIONS, key)
    transaction.delete(ACCOUNT_SESSIONS, _row(key, record))


def _row(key: bytes, record: SessionRecord) -> bytes:
    """Return a session's key in the table by account, which orders sessions by their start."""
    return number_key(record.account_id) + number_key(record.created_at) + key


def _key(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).digest()
