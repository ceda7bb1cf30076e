"""Sessions of browsers: functions over a transaction.

A session's id is 32 random bytes that only the browser has; its SHA-256 is stored. Each sign-in
makes a new one, so nobody can hand somebody a session and wait for them to sign in to it. Requests
that change something carry the session's CSRF token, which no other site can read.

A second table has the sessions of each account, oldest first. A user has at most `SESSIONS_MAX`: a
further sign-in ends the oldest, whose browser then has to sign in again.
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

# A working day; then one signs in again.
LIFE_SECONDS = 12 * 3600
# More are a script that signs in and never out.
SESSIONS_MAX = 100
# What an open of a session looks over for ones that have expired.
_SWEPT_MAX = 20
# Half of a SHA-256 in hex: enough to name one, and not what is looked up.
_NAME_LENGTH = 32
# There once all sessions are in both tables: a version before had the first one only.
_LISTED = b"sessions_listed"


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
    """Keep a session; a few that have expired go, and the user's oldest if there are too many."""
    _list_all(transaction)
    key = _key(new.id)
    for old, data in list(transaction.scan(SESSIONS, after=key, limit=_SWEPT_MAX)):
        record = records.sessions.decode(data)
        if record.expires_at <= now:
            _remove(transaction, old, record)
    kept = list(_of_account(transaction, new.record.account_id))
    for old, record in kept[: max(0, len(kept) + 1 - SESSIONS_MAX)]:
        _remove(transaction, old, record)
    _put(transaction, key, new.record)


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
    key = _key(session_id)
    data = transaction.get(SESSIONS, key)
    if data is None:
        return False
    _remove(transaction, key, records.sessions.decode(data))
    return True


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
    """The open sessions of a user, the latest first."""
    found = [
        OpenSession(key.hex()[:_NAME_LENGTH], record.created_at, record.expires_at, record.remote)
        for key, record in _of_account(transaction, account.id)
        if record.generation == account.generation and record.expires_at > now
    ]
    return sorted(found, key=lambda session: session.created_at, reverse=True)


def name_of(session_id: str) -> str:
    """What `OpenSession` calls the session with this id."""
    return _key(session_id).hex()[:_NAME_LENGTH]


def close_named(transaction: WriteTransaction, account_id: int, name: str) -> bool:
    """End a user's session, by its name; False if there is none."""
    for key, record in list(_of_account(transaction, account_id)):
        if key.hex()[:_NAME_LENGTH] == name:
            _remove(transaction, key, record)
            return True
    return False


def _of_account(
    transaction: ReadTransaction, account_id: int
) -> Iterator[tuple[bytes, SessionRecord]]:
    """An account's sessions, open or not, oldest first."""
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


def _list_all(transaction: WriteTransaction) -> None:
    """Once: put sessions of a version before into the table by account."""
    if transaction.get(META, _LISTED) is None:
        for key, data in transaction.scan(SESSIONS):
            transaction.put(ACCOUNT_SESSIONS, _row(key, records.sessions.decode(data)), b"")
        transaction.put(META, _LISTED, b"1")


def _put(transaction: WriteTransaction, key: bytes, record: SessionRecord) -> None:
    transaction.put(SESSIONS, key, records.sessions.encode(record))
    transaction.put(ACCOUNT_SESSIONS, _row(key, record), b"")


def _remove(transaction: WriteTransaction, key: bytes, record: SessionRecord) -> None:
    transaction.delete(SESSIONS, key)
    transaction.delete(ACCOUNT_SESSIONS, _row(key, record))


def _row(key: bytes, record: SessionRecord) -> bytes:
    """The key in the table by account: ordered by when sessions were opened."""
    return number_key(record.account_id) + number_key(record.created_at) + key


def _key(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).digest()
