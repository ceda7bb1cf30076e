"""Repair: the whole index once more, from files, packs and the change log.

First what lies on the disk, then what was done with it. The new index does not count before all of
it is made, so a repair that is cut off is begun again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from dtrfast.identity.replay import Replay
from dtrfast.index.changes import Change
from dtrfast.index.engine import WriteTransaction
from dtrfast.oci.digests import Digest
from dtrfast.registry import replay, unheld
from dtrfast.registry.replay import Lost
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
    lost, people = Lost(), Replay()
    count = last = 0
    for batch in _batches(store.changes()):
        lost.sizes = _sizes(store, (change.payload.get("digest") for change in batch))

        def do(transaction: WriteTransaction, batch: list[Change] = batch) -> None:
            for change in batch:
                if not people.apply(transaction, change):
                    replay.apply(transaction, change, lost)
            replay.forget_records(transaction, batch[-1].sequence)

        store.engine.write(do)
        count, last = count + len(batch), batch[-1].sequence
    wanted = {d.raw for _, text in lost.blobs if (d := Digest.parse(text)).algorithm == "sha512"}
    if wanted:
        store.add_sha512_names(wanted)

    lost.sizes = _sizes(store, (text for _, text in lost.blobs))

    def link(transaction: WriteTransaction) -> None:
        replay.link_found(transaction, lost, 0)
        replay.forget_records(transaction, last)

    store.engine.write(link)
    rebuild.finish(partial(unheld.are_held, store.engine))
    for size in store.check_contents():
        progress(size)
    store.trace_damage()
    store.end_repair()
    damaged = store.statistics().damaged_blobs
    failed = len(lost.changes | people.failed)
    return Repaired(count, failed, tuple(sorted(lost.blobs)), damaged)


def _sizes(store: Store, digests: Iterable[object]) -> dict[Digest, int]:
    """The sizes of those that are there, damaged or not."""
    wanted = [Digest.parse(text) for text in digests if isinstance(text, str)]
    return store.sizes(wanted)


def _add_inline(store: Store) -> None:
    for change in store.changes():
        if change.kind == "blob.put":
            store.add_inline(change.payload["body"], change.time)


def _batches(changes: Iterator[Change]) -> Iterator[list[Change]]:
    while batch := list(islice(changes, _BATCH_MAX)):
        yield batch
