"""Blobs that are not needed any more: links whose grace has passed, and content that no repository
holds.

Links go in transactions of the index, which list content that has lost its last holder. The store
then frees what is listed, and asks once more itself, while nothing can claim it
(docs/reliability.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import takewhile

from dtrfast.errors import Corrupt
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    BLOBS_UNHELD,
    LINKS_UNREFERENCED,
    NUMBER_SIZE,
    REPOSITORY_NAMES,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import links
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.writing import Author, Place
from dtrfast.store.blobs import BlobStore

ACTOR = "system"

_logger = logging.getLogger("dtrfast.reclaim")


def are_held(engine: Engine, contents: Sequence[Sequence[Digest]]) -> list[bool]:
    """See `IsHeld`."""
    with engine.read() as transaction:
        return [any(links.is_held(transaction, name) for name in names) for names in contents]


def are_kept(engine: Engine, contents: Sequence[Sequence[Digest]]) -> list[bool]:
    """For a check: which of them are held, or wait to be released."""
    with engine.read() as transaction:
        return [any(_is_kept(transaction, name) for name in names) for names in contents]


def _is_kept(transaction: ReadTransaction, digest: Digest) -> bool:
    is_waiting = transaction.get(BLOBS_UNHELD, digest.key()) is not None
    return is_waiting or links.is_held(transaction, digest)


def drop_links(engine: Engine, blobs: BlobStore, now: int, grace_seconds: int, limit: int) -> int:
    """Unlink blobs whose grace has passed; returns how many of the list are settled."""
    after: bytes | None = None
    while keys := _due(engine, now - grace_seconds, after, limit):
        settle = partial(_drop_links, engine, blobs, now, grace_seconds)
        if count := _together(keys, settle):
            return count
        after = keys[-1]  # none of these can be read: they hide none behind them
    return 0


def _due(engine: Engine, before: int, after: bytes | None, limit: int) -> list[bytes]:
    """Rows of links whose grace began at `before` or earlier."""
    end = number_key(max(0, before) + 1)
    with engine.read() as transaction:
        rows = transaction.scan(LINKS_UNREFERENCED, after=after, limit=limit)
        return [key for key, _ in takewhile(lambda row: row[0] < end, rows)]


def _together(keys: list[bytes], settle: Callable[[list[bytes]], int]) -> int:
    """Settle all at once; where a row cannot be read, each alone, so that it alone stays."""
    try:
        return settle(keys)
    except Corrupt:
        return sum(_alone(key, settle) for key in keys)


def _alone(key: bytes, settle: Callable[[list[bytes]], int]) -> int:
    try:
        return settle([key])
    except Corrupt as error:
        repository, digest = number_of(key[NUMBER_SIZE:]), _digest_in(key)
        _logger.error("could not unlink %s from repository %d: %s", digest, repository, error)
        return 0


def _drop_links(
    engine: Engine, blobs: BlobStore, now: int, grace_seconds: int, keys: list[bytes]
) -> int:
    with engine.read() as transaction:
        old = [key for key in keys if _is_without_size(transaction, key)]
    known = blobs.sizes(_digest_in(key) for key in old)
    sizes = {key: known.get(_digest_in(key), 0) for key in old}
    drop = partial(_drop_all, keys=keys, sizes=sizes, now=now, grace_seconds=grace_seconds)
    engine.write(drop)
    return len(keys)


def release(engine: Engine, blobs: BlobStore, limit: int) -> int:
    """Have the store free what no repository holds any more; returns how many are settled."""
    after: bytes | None = None
    while rows := _listed(engine, after, limit):
        listed = [Digest.from_key(key) for key, _ in rows]
        settled = set(blobs.release(listed, partial(are_held, engine)))
        done = [row for row, digest in zip(rows, listed, strict=True) if digest in settled]
        if done:
            engine.write(partial(_forget, rows=done))
            return len(done)
        after = rows[-1][0]  # all of these are claimed: they hide none behind them
    return 0


def is_any(transaction: ReadTransaction) -> bool:
    """Return True if content waits to be released."""
    return any(True for _ in transaction.scan(BLOBS_UNHELD, limit=1))


def _listed(engine: Engine, after: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
    with engine.read() as transaction:
        return list(transaction.scan(BLOBS_UNHELD, after=after, limit=limit))


def _forget(transaction: WriteTransaction, rows: Iterable[tuple[bytes, bytes]]) -> None:
    """Take rows out of the list, but for those of blobs that were let go of again meanwhile."""
    for key, value in rows:
        if transaction.get(BLOBS_UNHELD, key) == value:
            transaction.delete(BLOBS_UNHELD, key)


def _drop_all(
    transaction: WriteTransaction,
    keys: list[bytes],
    sizes: dict[bytes, int],
    now: int,
    grace_seconds: int,
) -> None:
    for key in keys:
        _drop(transaction, key, sizes.get(key), now, grace_seconds)


def _drop(
    transaction: WriteTransaction, key: bytes, size: int | None, now: int, grace_seconds: int
) -> None:
    """Settle one row of the list: the link goes unless it is referred to or was renewed."""
    transaction.delete(LINKS_UNREFERENCED, key)
    repository, digest = RepositoryId(number_of(key[NUMBER_SIZE:])), _digest_in(key)
    link = links.get(transaction, repository, digest)
    if link is None or links.is_kept(transaction, repository, digest):
        return
    # Renewing put a later row into the list.
    if link.unreferenced_since + grace_seconds <= now:
        links.remove(transaction, place_of(transaction, repository, now), digest, size)


def place_of(transaction: ReadTransaction, repository: RepositoryId, now: int) -> Place:
    """The repository, for a change that the server makes by itself. One that left the trash has no
    name.
    """
    name = transaction.get(REPOSITORY_NAMES, number_key(repository)) or b""
    return Place(repository, RepositoryName(name.decode()), Author(ACTOR, now))


def _is_without_size(transaction: ReadTransaction, key: bytes) -> bool:
    link = links.get(transaction, RepositoryId(number_of(key[NUMBER_SIZE:])), _digest_in(key))
    return link is not None and link.size is None


def _digest_in(key: bytes) -> Digest:
    return Digest.from_key(key[2 * NUMBER_SIZE :])


def pending(transaction: ReadTransaction, now: int, grace_seconds: int) -> dict[str, int]:
    """The number of links and of contents that wait to be dropped and are due, up to a thousand."""
    due = number_key(max(0, now - grace_seconds) + 1)
    late = takewhile(lambda row: row[0] < due, transaction.scan(LINKS_UNREFERENCED, limit=1000))
    return {
        "unreferenced blobs": sum(1 for _ in late),
        "unheld blobs": sum(1 for _ in transaction.scan(BLOBS_UNHELD, limit=1000)),
    }


def in_grace(transaction: ReadTransaction, grace_seconds: int) -> tuple[int, int]:
    """The number of blobs in their grace, up to ten thousand, and the time at which the first
    grace ends.
    """
    times = [number_of(key) for key, _ in transaction.scan(LINKS_UNREFERENCED, limit=10_000)]
    return len(times), (times[0] + grace_seconds if times else 0)
