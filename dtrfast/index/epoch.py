"""The access epoch: a value that changes whenever the data behind a verdict changes.

Each change of accounts, teams, grants, tokens, or of the set of repositories advances the epoch in
the same transaction. A cached verdict stays valid while the epoch has the value that the
transaction of the verdict read.
"""

from __future__ import annotations

import secrets

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import META, number_key

_KEY = b"access_epoch"
# Earlier versions increment the epoch as an unsigned 8-byte number; a 63-bit value cannot overflow
# it after a downgrade.
_BITS = 63


def read(transaction: ReadTransaction) -> bytes:
    """Return the epoch. Compare it for equality only."""
    return transaction.get(META, _KEY) or b""


def advance(transaction: WriteTransaction) -> None:
    """Invalidate all verdicts that were made before this transaction.

    The new value is random. A counter would repeat a value: after an aborted change the next change
    would get the same number. Verdicts made inside the aborted change would then be valid again.
    """
    transaction.put(META, _KEY, number_key(secrets.randbits(_BITS)))
