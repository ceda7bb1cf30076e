"""A store whose contents are all evicted passes the contract of blob stores."""

from __future__ import annotations

import random

import pytest

from dtrfast.oci.digests import Digest
from dtrfast.store import contents
from dtrfast.store.blobs import BlobReader
from dtrfast.store.local import LocalBlobs
from dtrfast.store.store import Store
from tests.store.blob_contract import CONTENTS, BlobContract, push, read
from tests.store.tier.layers import content_of, convert, evict


class EvictedBlobs(LocalBlobs):
    """Evicts all that it can before it opens a blob."""

    def __init__(self, store: Store) -> None:
        super().__init__(store._context)
        self._store = store
        self._seen: set[int] = set()

    def open_range(self, digest: Digest, offset: int = 0, length: int | None = None) -> BlobReader:
        with self._store.engine.read() as transaction:
            found = contents.find(transaction, digest)
        if found is not None and found.number not in self._seen:
            self._seen.add(found.number)
            convert(self._store, [digest])
            evict(self._store, [digest])
        return super().open_range(digest, offset, length)


@pytest.fixture
def blobs(store: Store) -> LocalBlobs:
    return EvictedBlobs(store)


@pytest.mark.long
class TestEvictedBlobs(BlobContract):
    pass


def test_most_contents_are_evicted(store: Store, blobs: LocalBlobs) -> None:
    evicted = set()
    choices = random.Random(1)
    for kind, body in CONTENTS.items():
        digest = push(blobs, body)
        assert read(blobs, digest) == body
        for _ in range(5):
            begin, end = sorted(choices.randint(0, len(body)) for _ in range(2))
            assert read(blobs, digest, begin, end - begin) == body[begin:end], (kind, begin, end)
        if content_of(store, digest).content.kind == "recreated":
            evicted.add(kind)
    assert evicted == {
        *("inline and one", "one chunk", "longest chunk", "longest chunk and one", "many chunks"),
        *("zeros", "text", "the same twice", "gzip of a usual level"),
    }
