"""Repair: a new index from files, packs and the change log.

First it lists what is on the disk, then it does the changes of the log again. The new index counts
only once all of it is made, so a repair that was interrupted starts again from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from dtrfast.identity.replay import Replay
from dtrfast.oci.digests import Digest
from dtrfast.registry import replay, unheld
from dtrfast.registry.replay import LostBlobs
from dtrfast.store.store import Store

_BATCH_MAX = 100  # changes in one transaction: a manifest writes about ten rows


@dataclass(frozen=True, slots=True)
class RepairResult:
    """The result of a repair. `lost` has repository and digest of each blob that the change log
    names and no file holds.
    """

    changes: int
    changes_failed: int
    lost: tuple[tuple[str, str], ...]
    damaged_blobs: int


def repair_index(
    store: Store, tell: Callable[[str], None], progress: Callable[[int], None]
) -> RepairResult:
    """Make a new index for a store that `Store.begin_repair` opened. Reads the whole store.

    `tell` gets a sentence for each finding, `progress` the bytes read since its last call.
    """
    rebuild = store.rebuild(tell, progress)
    rebuild.run()
    for change in store.changes():
        if change.kind == "blob.put":  # the blob's bytes are in the change log alone
            store.add_inline(change.payload["body"], change.time)
    _add_sha512_names(store)
    done = _replay(store)
    rebuild.finish(partial(unheld.are_held, store.engine))
    for size in store.check_contents():
        progress(size)
    store.trace_damage()
    store.end_repair()
    damaged = store.statistics().damaged_blobs
    return RepairResult(done.count, done.failed, tuple(sorted(done.lost.blobs)), damaged)


@dataclass(slots=True)
class _ReplayCounts:
    """The number of changes that were done again, and of those that could not be."""

    count: int = 0
    failed: int = 0
    lost: LostBlobs = field(default_factory=LostBlobs)


def _replay(store: Store) -> _ReplayCounts:
    done, people = _ReplayCounts(), Replay()
    changes = store.changes()
    while batch := list(islice(changes, _BATCH_MAX)):
        texts = (change.payload.get("digest") for change in batch)
        sizes = store.blobs.sizes([Digest.parse(text) for text in texts if isinstance(text, str)])
        people.read(batch)
        failed = replay.apply_batch(store.engine, batch, sizes, people.apply)
        for change in batch:
            if change.sequence not in failed:
                done.lost.follow(change, sizes)
        done.count += len(batch)
        done.failed += len(failed)
    return done


def _add_sha512_names(store: Store) -> None:
    """Find blobs by the SHA-512 names that a repository may still hold. To be called before blobs
    are linked.

    Files and packs have SHA-256 names only, so finding any other name means reading everything.
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
