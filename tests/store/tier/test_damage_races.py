"""Marks of damage beside evictions, reclaim and compaction, and errors of the disk that pass."""

from __future__ import annotations

import msgspec
import pytest

from dtrfast.index.tables import (
    CHUNKS,
    number_key,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import damage
from dtrfast.store.records import Chunk
from dtrfast.store.store import Store
from tests.store.conftest import push
from tests.store.tier.layers import (
    convert,
    layer,
    replay_of,
)
from tests.store.tier.test_tier_damage import chunks_of


@pytest.fixture
def digest(store: Store) -> Digest:
    """A layer that is converted, not evicted."""
    digest = push(store.blobs, layer())
    convert(store)
    return digest


def test_a_chunk_that_moves_during_the_look_at_it_is_no_damage(
    store: Store, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = store._context.chunk_files.read
    number, place = chunks_of(store)[0]
    gone = msgspec.structs.replace(place, pack=1000)
    store.engine.write(lambda t: t.put(CHUNKS, number_key(number), gone.encode()))

    def move(wanted: Chunk) -> bytes:
        if wanted.pack == 1000:
            store.engine.write(lambda t: t.put(CHUNKS, number_key(number), place.encode()))
        return read(wanted)

    monkeypatch.setattr(store._context.chunk_files, "read", move)
    damage.mark_chunks_of(store._context, replay_of(store, digest).recipe)
    assert store.statistics().damaged_chunks == 0
