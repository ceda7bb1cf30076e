"""Who holds which content, for tests of a store alone: what the registry's holdings are to it."""

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
    """Pairs of a holder and a digest. `dropped`: what may have lost its last holder."""

    def __init__(self) -> None:
        self.held: set[tuple[str, Digest]] = set()
        self.dropped: list[Digest] = []

    def are_held(self, contents: Sequence[Sequence[Digest]]) -> list[bool]:
        """See `IsHeld`. Holdings look into an index of their own."""
        assert scoped.open_names() == [], "is_held was asked inside a transaction"
        held = {digest for _, digest in list(self.held)}
        return [not held.isdisjoint(names) for names in contents]


_of_directories: dict[str, Holders] = {}
_of_others: WeakKeyDictionary[BlobStore, Holders] = WeakKeyDictionary()


def holders(blobs: BlobStore) -> Holders:
    """Those of a store's content: the same for all stores over one data directory."""
    if isinstance(blobs, LocalBlobs):
        return _of_directories.setdefault(str(blobs._context.layout.data), Holders())
    return _of_others.setdefault(blobs, Holders())


def commit(blobs: BlobStore, upload: Upload, digest: Digest, holder: str = ONE) -> BlobStat:
    """Both steps: place the content, and note its holder."""
    with blobs.commit(upload, digest) as placed:
        placed.settle()
        holders(blobs).held.add((holder, digest))
        placed.finish()
    return placed.stat


def link(blobs: BlobStore, digest: Digest, holder: str) -> None:
    """Another holder, of content that has one."""
    assert holders(blobs).are_held([[digest]]) == [True]
    holders(blobs).held.add((holder, digest))


def drop(blobs: BlobStore, digest: Digest, holder: str = ONE) -> None:
    """The holder lets go."""
    holders(blobs).held.remove((holder, digest))
    holders(blobs).dropped.append(digest)


def release(blobs: BlobStore) -> int:
    """Have the store free what lost its holder; returns how many are settled."""
    those = holders(blobs)
    settled = blobs.release(those.dropped, those.are_held)
    those.dropped = [digest for digest in those.dropped if digest not in settled]
    return len(settled)
