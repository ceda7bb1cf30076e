"""Counts and sizes of the store's contents, updated with each change. A read is one look-up."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.index.counts import Counts
from dtrfast.index.tables import STORE


@dataclass(frozen=True, slots=True)
class Savings:
    """The difference between the size of all images and the bytes on disk, by cause.

    The size of all images, less the three savings, plus `overhead_bytes`, is the bytes on disk.
    `overhead_bytes` are copies of recipes, chunks of converted layers that are still whole, and
    deleted content that is not reclaimed yet.
    """

    equal_blobs_bytes: int  # whole blobs that several repositories have
    equal_chunks_bytes: int  # chunks that occur in several places
    compression_bytes: int
    overhead_bytes: int


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Counts, and sizes in bytes. Also used as a difference, where a value may be negative."""

    # Links of repositories, as versions before 1.4 counted them here. The registry counts them now.
    old_links: int = 0
    old_linked_bytes: int = 0
    inline_blobs: int = 0
    inline_bytes: int = 0
    loose_blobs: int = 0
    loose_bytes: int = 0
    chunked_blobs: int = 0
    chunked_bytes: int = 0  # content of chunked blobs, as pushed
    chunks: int = 0
    chunk_bytes: int = 0  # content of distinct chunks
    packs: int = 0
    pack_bytes: int = 0  # on disk
    freed_bytes: int = 0  # of all files that were ever unlinked
    damaged_blobs: int = 0
    damaged_chunks: int = 0
    recreated_blobs: int = 0
    recreated_bytes: int = 0  # content of evicted blobs, as pushed
    converted_blobs: int = 0  # blobs with a replay recipe, evicted or not
    plain_bytes: int = 0  # plain bytes of converted blobs

    @property
    def blobs(self) -> int:
        """Distinct blobs."""
        return self.inline_blobs + self.loose_blobs + self.chunked_blobs + self.recreated_blobs

    @property
    def stored_bytes(self) -> int:
        """Bytes of content on disk, without the index."""
        return self.inline_bytes + self.loose_bytes + self.pack_bytes

    def savings(self, linked_bytes: int) -> Savings:
        """Return the savings for links of `linked_bytes`, each blob counted in each repository."""
        in_chunks = self.chunked_bytes + self.recreated_bytes
        contents_bytes = self.inline_bytes + self.loose_bytes + in_chunks
        equal_chunks = in_chunks - self.chunk_bytes
        # The chunks of a gzip layer are its plain bytes, which are more than the layer. So much is
        # no overhead, but less compression.
        inflated = max(0, min(-equal_chunks, self.plain_bytes - self.recreated_bytes))
        differences = (
            linked_bytes - contents_bytes,
            equal_chunks + inflated,
            self.chunk_bytes - self.pack_bytes - inflated,
        )
        overhead_bytes = -sum(min(0, one) for one in differences)
        blobs, chunks, compression = (max(0, one) for one in differences)
        return Savings(blobs, chunks, compression, overhead_bytes)


_counts = Counts(STORE, b"statistics", StoreStatistics)
read = _counts.read
add = _counts.add
