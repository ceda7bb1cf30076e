"""Addresses from which an account signed in: functions over a transaction.

Failures of other clients do not hold a try from a known address (`tries`). An address is stored as
its network (`client_networks`), written at most once a day, and forgotten after a month.
"""

from __future__ import annotations

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import KNOWN_ADDRESSES, number_key, number_of

KNOWN_SECONDS = 30 * 86_400
NOTE_SECONDS = 86_400
# Networks of one account. A client that changes its network at will must not fill the index.
ADDRESSES_MAX = 100
_NETWORK_LENGTH_MAX = 100


def is_known(transaction: ReadTransaction, account_id: int, network: str, now: int) -> bool:
    """Return True if the account signed in from this network within a month."""
    noted = transaction.get(KNOWN_ADDRESSES, _key(account_id, network))
    return noted is not None and now - number_of(noted) < KNOWN_SECONDS


def is_note_due(transaction: ReadTransaction, account_id: int, network: str, now: int) -> bool:
    """Return True if a sign-in at `now` should be written (`note`)."""
    noted = transaction.get(KNOWN_ADDRESSES, _key(account_id, network))
    return noted is None or now - number_of(noted) >= NOTE_SECONDS


def note(transaction: WriteTransaction, account_id: int, network: str, now: int) -> None:
    """Write a sign-in. Remove networks that are too old, and the oldest if there are too many."""
    rows = transaction.scan(KNOWN_ADDRESSES, number_key(account_id))
    noted = sorted((number_of(value), key) for key, value in rows)
    recent = [key for at, key in noted if now - at < KNOWN_SECONDS]
    kept = set(recent[-(ADDRESSES_MAX - 1) :])
    for _, key in noted:
        if key not in kept:
            transaction.delete(KNOWN_ADDRESSES, key)
    transaction.put(KNOWN_ADDRESSES, _key(account_id, network), number_key(now))


def forget_all(transaction: WriteTransaction, account_id: int) -> None:
    """Remove the networks of an account that is about to be deleted."""
    for key, _ in list(transaction.scan(KNOWN_ADDRESSES, number_key(account_id))):
        transaction.delete(KNOWN_ADDRESSES, key)


def _key(account_id: int, network: str) -> bytes:
    return number_key(account_id) + network[:_NETWORK_LENGTH_MAX].encode("utf-8", "replace")
