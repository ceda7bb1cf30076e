"""The access epoch: a number that changes with everything a verdict depends on.

Accounts, teams, grants, tokens, and which repositories there are: whoever changes one of them
advances the epoch in the same transaction. So a verdict may be kept for as long as the epoch has
the value that was read together with what the verdict was made from.
"""

from __future__ import annotations

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import META, number_key, number_of

_KEY = b"access_epoch"


def read(transaction: ReadTransaction) -> bytes:
    """The epoch, to be compared and for nothing else."""
    return transaction.get(META, _KEY) or b""


def advance(transaction: WriteTransaction) -> None:
    """End all verdicts that were made before this transaction."""
    value = transaction.get(META, _KEY)
    transaction.put(META, _KEY, number_key(1 if value is None else number_of(value) + 1))
