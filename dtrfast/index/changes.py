"""The change log's first half: each committed change, recorded in the transaction that makes it.

Rows wait here until the housekeeper has written them to the log's files and synced those. So the
log misses nothing that was committed, and holds nothing that was not.
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


# The rows that are moved at a time: below a group's limit of rows, and little memory.
_OLDEST_MAX = 500
_OLDEST_BYTES_MAX = 4 << 20


class Change(msgspec.Struct, frozen=True, array_like=True):
    """One change. New fields are appended with a default, so that older records stay readable."""

    sequence: int
    time: int  # seconds since the epoch
    kind: str
    actor: str
    repository: str
    payload: dict[str, Any]  # text, numbers and bytes, as given to `record`


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Change)


def record(
    transaction: WriteTransaction,
    kind: Kind,
    *,
    time: int,
    actor: str,
    repository: str,
    payload: dict[str, str | int | bytes | None],
) -> int:
    """Add a change to the transaction; returns its sequence number."""
    sequence = transaction.take(META, b"change_sequence")
    change = Change(sequence, time, kind, actor, repository, payload)
    transaction.put(CHANGES, number_key(sequence), _encoder.encode(change))
    return sequence


def oldest(transaction: ReadTransaction) -> list[tuple[bytes, bytes]]:
    """Some of the oldest changes that wait here, as keys and encoded changes; at least one if there
    is any: manifests make some of them large.
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
    """Remove changes that are in the log's files, and synced."""
    transaction.delete_all(CHANGES, keys)


def decode(data: bytes) -> Change:
    """Read a recorded change. Raises `msgspec.DecodeError` if it is none."""
    return _decoder.decode(data)
