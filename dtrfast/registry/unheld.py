"""Blobs that nothing needs any more: links whose grace has passed, and content without a holder.

A transaction of the index removes links, and lists content that has lost its last holder. The store
then frees the listed content. Before that it asks for holders once more, while no upload can claim
the content (docs/reliability.md).
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
    REPOSITORY_NAMES,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import links
from dtrfast.registry.keys import RepositoryId, digest_in, manifest_in, noted_key
from dtrfast.registry.writing import Author, TargetRepository
from dtrfast.store.blobs import BlobStore

ACTOR = "system"

_logger = logging.getLogger("dtrfast.reclaim")


def are_held(engine: Engine, contents: Sequence[Sequence[Digest]]) -> list[bool]:
    """See `IsHeld`."""
    with engine.read() as transaction:
        return [any(links.is_held(transaction, name) for name in names) for names in contents]


def are_kept(engine: Engine, contents: Sequence[Sequence[Digest]]) -> list[bool]:
    """Return True for content that is held or waits to be released, for a check of the store. Each
    content is given by all its digests.
    """
    with engine.read() as transaction:
        return [
            any(
                transaction.get(BLOBS_UNHELD, name.key()) is not None
                or links.is_held(transaction, name)
                for name in names
            )
            for names in contents
        ]


def drop_links(engine: Engine, blobs: BlobStore, now: int, grace_seconds: int, limit: int) -> int:
    """Unlink blobs whose grace has passed. Returns the number of rows that it settled."""
    after: bytes | None = None
    while keys := _due(engine, now - grace_seconds, after, limit):
        settle = partial(_drop_links, engine, blobs, now, grace_seconds)
        if count := _settle_readable(keys, settle):
            return count
        after = keys[-1]  # none of these can be read, so it goes on with those after them
    return 0


def _due(engine: Engine, before: int, after: bytes | None, limit: int) -> list[bytes]:
    """Return rows of links whose grace began at `before` or earlier."""
    end = number_key(max(0, before) + 1)
    with engine.read() as transaction:
        rows = transaction.scan(LINKS_UNREFERENCED, after=after, limit=limit)
        return [key for key, _ in takewhile(lambda row: row[0] < end, rows)]


def _settle_readable(keys: list[bytes], settle: Callable[[list[bytes]], int]) -> int:
    """Settle all rows at once. If one cannot be read, settle each alone, so that only that one
    stays.
    """
    try:
        return settle(keys)
    except Corrupt as error:
        if len(keys) > 1:
            return sum(_settle_readable([key], settle) for key in keys)
        repository, digest = manifest_in(noted_key(keys[0]))
        _logger.error("could not unlink %s from repository %d: %s", digest, repository, error)
        return 0


def _drop_links(
    engine: Engine, blobs: BlobStore, now: int, grace_seconds: int, keys: list[bytes]
) -> int:
    with engine.read() as transaction:
        found = {key: links.get(transaction, *manifest_in(noted_key(key))) for key in keys}
    # Links that an older version wrote have no size.
    old = [key for key, link in found.items() if link is not None and link.size is None]
    known = blobs.sizes(digest_in(noted_key(key)) for key in old)
    sizes = {key: known.get(digest_in(noted_key(key)), 0) for key in old}
    drop = partial(_drop, keys=keys, sizes=sizes, now=now, grace_seconds=grace_seconds)
    engine.write(drop)
    return len(keys)


def release(engine: Engine, blobs: BlobStore, limit: int) -> int:
    """Have the store free listed content. Returns the number of rows that it settled."""
    after: bytes | None = None
    while rows := _unheld_rows(engine, after, limit):
        listed = [Digest.from_key(key) for key, _ in rows]
        settled = set(blobs.release(listed, partial(are_held, engine)))
        done = [row for row, digest in zip(rows, listed, strict=True) if digest in settled]
        if done:
            engine.write(partial(_forget, rows=done))
            return len(done)
        after = rows[-1][0]  # all of these are claimed, so it goes on with those after them
    return 0


def is_any(engine: Engine) -> bool:
    """Return True if content waits to be released."""
    with engine.read() as transaction:
        return any(True for _ in transaction.scan(BLOBS_UNHELD, limit=1))


def _unheld_rows(engine: Engine, after: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
    with engine.read() as transaction:
        return list(transaction.scan(BLOBS_UNHELD, after=after, limit=limit))


def _forget(transaction: WriteTransaction, rows: Iterable[tuple[bytes, bytes]]) -> None:
    """Delete rows of released blobs. A row that changed meanwhile stays: its blob came back and
    lost its last holder again.
    """
    for key, value in rows:
        if transaction.get(BLOBS_UNHELD, key) == value:
            transaction.delete(BLOBS_UNHELD, key)


def _drop(
    transaction: WriteTransaction,
    keys: list[bytes],
    sizes: dict[bytes, int],
    now: int,
    grace_seconds: int,
) -> None:
    """Settle rows: delete each, and remove its link unless a manifest keeps the blob or the grace
    was restarted.
    """
    for key in keys:
        transaction.delete(LINKS_UNREFERENCED, key)
        repository, digest = manifest_in(noted_key(key))
        link = links.get(transaction, repository, digest)
        if link is None or links.is_kept(transaction, repository, digest):
            continue
        # A restart of the grace wrote a row with a later time.
        if link.unreferenced_since + grace_seconds <= now:
            target = target_of(transaction, repository, now)
            links.remove(transaction, target, digest, sizes.get(key))


def target_of(transaction: ReadTransaction, repository: RepositoryId, now: int) -> TargetRepository:
    """Return the target of a change that the server makes by itself. A deleted repository has an
    empty name.
    """
    name = transaction.get(REPOSITORY_NAMES, number_key(repository)) or b""
    return TargetRepository(repository, RepositoryName(name.decode()), Author(ACTOR, now))


def pending(transaction: ReadTransaction, now: int, grace_seconds: int) -> dict[str, int]:
    """Count links whose grace has passed, and listed content, up to a thousand of each."""
    due = number_key(max(0, now - grace_seconds) + 1)
    late = takewhile(lambda row: row[0] < due, transaction.scan(LINKS_UNREFERENCED, limit=1000))
    return {
        "unreferenced blobs": sum(1 for _ in late),
        "unheld blobs": sum(1 for _ in transaction.scan(BLOBS_UNHELD, limit=1000)),
    }


def in_grace(transaction: ReadTransaction, grace_seconds: int) -> tuple[int, int]:
    """Count the blobs in their grace, up to ten thousand. Returns also the time at which the first
    grace ends, in seconds since the epoch; 0 if there are none.
    """
    times = [number_of(key) for key, _ in transaction.scan(LINKS_UNREFERENCED, limit=10_000)]
    return len(times), (times[0] + grace_seconds if times else 0)
