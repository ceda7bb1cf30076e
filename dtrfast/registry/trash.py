"""The trash: what was deleted and can be restored, listed by the time of its deletion.

A row of TRASH names what is kept elsewhere: a manifest, an earlier state of a tag, a repository. A
row whose thing was restored, or deleted again later, means nothing. How long things stay is a
setting, so rows hold the time of the deletion and a change of the setting counts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Literal

from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFESTS_DELETED, NUMBER_SIZE, TRASH, number_key, number_of

Kind = Literal["manifest", "tag", "repository"]

_KINDS: dict[bytes, Kind] = {b"m": "manifest", b"t": "tag", b"r": "repository"}
_BYTES: dict[Kind, bytes] = {kind: letter for letter, kind in _KINDS.items()}
# Manifests that one step drops.
_STEP_BYTES_MAX = 256 << 10

# Takes a thing out of the trash for good. It was put there at that time.
Purge = Callable[[WriteTransaction, bytes, int], None]


def put(transaction: WriteTransaction, kind: Kind, key: bytes, now: int) -> None:
    """List a thing that was deleted."""
    transaction.put(TRASH, number_key(now) + _BYTES[kind] + key, b"")


def remove(transaction: WriteTransaction, kind: Kind, key: bytes, deleted_at: int) -> None:
    """It was restored."""
    transaction.delete(TRASH, number_key(deleted_at) + _BYTES[kind] + key)


def purge(engine: Engine, purges: Mapping[Kind, Purge], before: int, limit: int) -> int:
    """See `Holdings.drop_deleted`."""
    due = number_key(max(0, before))
    with engine.read() as transaction:
        rows = transaction.scan(TRASH, limit=limit)
        keys = list(_some(transaction, (key for key, _ in rows if key < due)))
    if keys:
        engine.write(partial(_purge, keys=keys, purges=purges))
    return len(keys)


def _some(transaction: ReadTransaction, keys: Iterable[bytes]) -> Iterator[bytes]:
    """The first keys, up to a large manifest: it names so many blobs that it ends a step."""
    size = 0
    for key in keys:
        yield key
        size += len(transaction.get(MANIFESTS_DELETED, key[NUMBER_SIZE + 1 :]) or b"")
        if size > _STEP_BYTES_MAX:
            return


def _purge(transaction: WriteTransaction, keys: list[bytes], purges: Mapping[Kind, Purge]) -> None:
    for key in keys:
        transaction.delete(TRASH, key)
        kind = _KINDS.get(key[NUMBER_SIZE : NUMBER_SIZE + 1])
        if kind is not None:
            purges[kind](transaction, key[NUMBER_SIZE + 1 :], number_of(key))


def count_of(transaction: ReadTransaction, limit: int = 100_000) -> int:
    """How many things are in the trash, as far as `limit`."""
    return sum(1 for _ in transaction.scan(TRASH, limit=limit))
