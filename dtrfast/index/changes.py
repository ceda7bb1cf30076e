"""The first half of the change log: records of changes, written in the transaction of the change.

The rows stay in the index until the housekeeper has written them to the log's files and synced the
files. So the log contains every committed change and no uncommitted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import CHANGES, META, number_key

Kind = Literal[
    "account.put",
    "account.delete",
    "team.put",
    "team.delete",
    "member.add",
    "member.remove",
    "grant.set",
    "grant.remove",
    "token.put",
    "token.delete",
    "trust.put",
    "trust.delete",
    "settings.put",
    "repository.create",
    "repository.update",
    "repository.delete",
    "repository.restore",
    "manifest.put",
    "manifest.delete",
    "tag.set",
    "tag.delete",
    "blob.put",
    "blob.link",
    "blob.unlink",
]


# Bounds of one move to the log's files. The count is below the number of rows that a group commit
# may write; the bytes bound the memory.
_OLDEST_MAX = 500
_OLDEST_BYTES_MAX = 4 << 20


class ChangeRecord(msgspec.Struct, frozen=True, array_like=True):
    """One change. Append new fields with a default, so that older records stay readable."""

    sequence: int
    time: int  # seconds since the epoch
    kind: str
    actor: str
    repository: str
    payload: dict[str, Any]  # the text, numbers and bytes that were given to `record`


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ChangeRecord)


def record(
    transaction: WriteTransaction,
    kind: Kind,
    *,
    time: int,
    actor: str,
    repository: str,
    payload: dict[str, str | int | bytes | None],
) -> int:
    """Add a change to the transaction and return its sequence number."""
    sequence = transaction.take(META, b"change_sequence")
    change = ChangeRecord(sequence, time, kind, actor, repository, payload)
    transaction.put(CHANGES, number_key(sequence), _encoder.encode(change))
    return sequence


def oldest(transaction: ReadTransaction) -> list[tuple[bytes, bytes]]:
    """Return the keys and the encoded changes of some of the oldest rows.

    The result is empty only if no row is left. Otherwise it has at least one row, however large:
    changes that contain manifests are large.
    """
    rows: list[tuple[bytes, bytes]] = []
    size = 0
    for row in transaction.scan(CHANGES, limit=_OLDEST_MAX):
        rows.append(row)
        size += len(row[1])
        if size >= _OLDEST_BYTES_MAX:
            break
    return rows


def forget(transaction: WriteTransaction, keys: Sequence[bytes]) -> None:
    """Remove changes that are in the log's files. The caller has synced those files."""
    transaction.delete_all(CHANGES, keys)


def decode(data: bytes) -> ChangeRecord:
    """Decode a change. Raises `msgspec.DecodeError` if `data` is not an encoded change."""
    return _decoder.decode(data)
