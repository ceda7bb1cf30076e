"""The holders of contents, for tests of a store alone, in place of the registry's holdings."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import BlobStat, BlobStore, Upload
from dtrfast.store.local import LocalBlobs
from tests import scoped

# Names of holders.
ONE = "one"
OTHER = "other"


class Holders:
    """Pairs of a holder and a digest. `dropped`: digests that may have lost their last holder."""

    def __init__(self) -> None:
        self.held: set[tuple[str, Digest]] = set()
        self.dropped: list[Digest] = []

    def are_held(self, contents: Sequence[Sequence[Digest]]) -> list[bool]:
        """See `IsHeld`. Real holdings read an index of their own."""
        assert scoped.open_names() == [], "is_held was asked inside a transaction"
        held = {digest for _, digest in list(self.held)}
        return [not held.isdisjoint(names) for names in contents]


_of_directories: dict[str, Holders] = {}
_of_others: WeakKeyDictionary[BlobStore, Holders] = WeakKeyDictionary()


def holders(blobs: BlobStore) -> Holders:
    """Return the holders of a store's contents: the same object for all stores over one data
    directory.
    """
    if isinstance(blobs, LocalBlobs):
        return _of_directories.setdefault(str(blobs._context.layout.data), Holders())
    return _of_others.setdefault(blobs, Holders())


def commit(blobs: BlobStore, upload: Upload, digest: Digest, holder: str = ONE) -> BlobStat:
    """Place the content and record its holder."""
    with blobs.commit(upload, digest) as placed:
        placed.settle()
        holders(blobs).held.add((holder, digest))
        placed.finish()
    return placed.stat


def link(blobs: BlobStore, digest: Digest, holder: str) -> None:
    """Add a holder of content that has one already."""
    assert holders(blobs).are_held([[digest]]) == [True]
    holders(blobs).held.add((holder, digest))


def drop(blobs: BlobStore, digest: Digest, holder: str = ONE) -> None:
    """Remove a holder."""
    holders(blobs).held.remove((holder, digest))
    holders(blobs).dropped.append(digest)


def release(blobs: BlobStore) -> int:
    """Let the store free content without a holder; return the number of settled digests."""
    those = holders(blobs)
    settled = blobs.release(those.dropped, those.are_held)
    those.dropped = [digest for digest in those.dropped if digest not in settled]
    return len(settled)
