"""Repair: the whole index once more, from files, packs and the change log.

First what lies on the disk, then what was done with it. The new index does not count before all of
it is made, so a repair that is cut off is begun again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from dtrfast.errors import DtrfastError
from dtrfast.identity.replay import Replay
from dtrfast.index.changes import Change
from dtrfast.index.engine import WriteTransaction
from dtrfast.oci.digests import Digest
from dtrfast.registry import replay, unheld
from dtrfast.registry.replay import Lost, Sizes
from dtrfast.store.store import Store

_BATCH_MAX = 100  # changes of a transaction: a manifest writes some ten rows


@dataclass(frozen=True, slots=True)
class Repaired:
    """What came of it. `lost`: blobs that the log speaks of and no file holds."""

    changes: int
    changes_failed: int
    lost: tuple[tuple[str, str], ...]
    damaged_blobs: int


def repair(store: Store, tell: Callable[[str], None], progress: Callable[[int], None]) -> Repaired:
    """Rebuild the index of a store that `Store.begin_repair` opened. Reads the whole store."""
    rebuild = store.rebuild(tell, progress)
    rebuild.run()
    _add_inline(store)
    _add_sha512_names(store)
    done = _replay(store)
    rebuild.finish(partial(unheld.are_held, store.engine))
    for size in store.check_contents():
        progress(size)
    store.trace_damage()
    store.end_repair()
    damaged = store.statistics().damaged_blobs
    return Repaired(done.count, done.failed, tuple(sorted(done.lost.blobs)), damaged)


@dataclass(slots=True)
class _Done:
    """The changes that were done again: how many, and how many could not be."""

    count: int = 0
    failed: int = 0
    lost: Lost = field(default_factory=Lost)


def _replay(store: Store) -> _Done:
    done, people = _Done(), Replay()
    for batch in _batches(store.changes()):
        sizes = _sizes(store, (change.payload.get("digest") for change in batch))
        people.read(batch)
        failed = store.engine.write(partial(_apply, batch=batch, people=people, sizes=sizes))
        for change in batch:
            if change.sequence not in failed:
                done.lost.follow(change, sizes)
        done.count += len(batch)
        done.failed += len(failed)
    return done


def _apply(
    transaction: WriteTransaction, batch: list[Change], people: Replay, sizes: Sizes
) -> set[int]:
    """Do changes again; returns the numbers of those that cannot be done."""
    failed = set()
    for change in batch:
        try:
            if not people.apply(transaction, change):
                replay.apply(transaction, change, sizes)
        except DtrfastError:
            failed.add(change.sequence)
    replay.forget_records(transaction, batch[-1].sequence)
    return failed


def _sizes(store: Store, digests: Iterable[object]) -> Sizes:
    """The sizes of those that are there, damaged or not."""
    wanted = [Digest.parse(text) for text in digests if isinstance(text, str)]
    return store.blobs.sizes(wanted)


def _add_inline(store: Store) -> None:
    for change in store.changes():
        if change.kind == "blob.put":
            store.add_inline(change.payload["body"], change.time)


def _add_sha512_names(store: Store) -> None:
    """Before anything is linked: files and packs tell of SHA-256 alone, and to find other names
    everything is read. So only names are looked for that a repository may still hold.
    """
    linked: set[tuple[str, str]] = set()
    trashed: set[str] = set()
    for change in store.changes():
        blob = (change.repository, str(change.payload.get("digest")))
        if change.kind == "blob.link" and blob[1].startswith("sha512:"):
            linked.add(blob)
        elif change.kind == "blob.unlink":
            linked.discard(blob)
        elif change.kind == "repository.delete":
            trashed |= {digest for name, digest in linked if name == change.repository}
    if wanted := trashed.union(digest for _, digest in linked):
        store.add_sha512_names({Digest.parse(digest).raw for digest in wanted})


def _batches(changes: Iterator[Change]) -> Iterator[list[Change]]:
    while batch := list(islice(changes, _BATCH_MAX)):
        yield batch
