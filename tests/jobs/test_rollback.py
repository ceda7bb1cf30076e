"""The store after a rollback, for the previous version."""

from __future__ import annotations

from pathlib import Path

from dtrfast.index.tables import BLOBS, CONTENTS_UNLINKED
from dtrfast.jobs import adoption
from dtrfast.oci.digests import Digest
from dtrfast.store import pins
from tests.jobs.test_freed import APP, Shelf, noise


def test_what_a_backup_keeps_is_listed_for_the_version_before(tmp_path: Path) -> None:
    """The previous version knows only the store's own list, and would keep the content for ever."""
    shelf = Shelf(tmp_path)
    layer = noise(1, 100_000)
    shelf.push(layer)
    digest = Digest.of_bytes(layer)
    with shelf.store.engine.read() as transaction:
        number = transaction.get(BLOBS, digest.key())
    shelf.registry.blobs.delete(APP, digest, shelf.registry.author())
    with pins.hold_contents(tmp_path):
        adoption.give_back(shelf.store, shelf.registry.holdings)
        with shelf.store.engine.read() as transaction:
            listed = [key for key, _ in transaction.scan(CONTENTS_UNLINKED)]
    shelf.store.close()
    assert listed == [number]
