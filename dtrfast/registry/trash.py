"""The trash: deleted things that can be restored, listed by the time of their deletion.

A row of TRASH names a thing that another table keeps: a manifest, an earlier state of a tag, a
repository. A row whose thing was restored, or deleted again later, has no effect. Rows have the
time of the deletion, so that a change of the setting `trashDays` counts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Literal, NamedTuple

from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFESTS_DELETED, NUMBER_SIZE, TRASH, number_key, number_of

Kind = Literal["manifest", "tag", "repository"]

_KINDS: dict[bytes, Kind] = {b"m": "manifest", b"t": "tag", b"r": "repository"}
_BYTES: dict[Kind, bytes] = {kind: letter for letter, kind in _KINDS.items()}
# Bytes of manifests that one step drops.
_STEP_BYTES_MAX = 256 << 10

# Removes a thing for good, given its key and the time of its deletion.
Purge = Callable[[WriteTransaction, bytes, int], None]


class TrashRow(NamedTuple):
    """A key of TRASH: the time of the deletion, and the kind and key of what was deleted.

    `kind` is None for a kind that this version does not know.
    """

    deleted_at: int
    kind: Kind | None
    key: bytes


def parse(row: bytes) -> TrashRow:
    """Parse a key of TRASH."""
    end = NUMBER_SIZE + 1
    return TrashRow(number_of(row), _KINDS.get(row[NUMBER_SIZE:end]), row[end:])


def row_key(deleted_at: int, kind: Kind, key: bytes) -> bytes:
    """Return a key of TRASH; for a prefix of `key`, a prefix of such keys."""
    return number_key(deleted_at) + _BYTES[kind] + key


def put(transaction: WriteTransaction, kind: Kind, key: bytes, now: int) -> None:
    """List a deleted thing."""
    transaction.put(TRASH, row_key(now, kind, key), b"")


def remove(transaction: WriteTransaction, kind: Kind, key: bytes, deleted_at: int) -> None:
    """Delete the row of a thing that was restored."""
    transaction.delete(TRASH, row_key(deleted_at, kind, key))


def purge(engine: Engine, purges: Mapping[Kind, Purge], before: int, limit: int) -> int:
    """See `Holdings.drop_deleted`."""
    due = number_key(max(0, before))
    with engine.read() as transaction:
        rows = transaction.scan(TRASH, limit=limit)
        keys = list(_first(transaction, (key for key, _ in rows if key < due)))
    if keys:
        engine.write(partial(_purge, keys=keys, purges=purges))
    return len(keys)


def _first(transaction: ReadTransaction, keys: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the first keys, up to `_STEP_BYTES_MAX`: a large manifest names many blobs, and each
    takes time.
    """
    size = 0
    for key in keys:
        yield key
        size += len(transaction.get(MANIFESTS_DELETED, parse(key).key) or b"")
        if size > _STEP_BYTES_MAX:
            return


def _purge(transaction: WriteTransaction, keys: list[bytes], purges: Mapping[Kind, Purge]) -> None:
    for key in keys:
        transaction.delete(TRASH, key)
        row = parse(key)
        if row.kind is not None:
            purges[row.kind](transaction, row.key, row.deleted_at)


def count_of(transaction: ReadTransaction, limit: int = 100_000) -> int:
    """Count the things in the trash, up to `limit`."""
    return sum(1 for _ in transaction.scan(TRASH, limit=limit))
