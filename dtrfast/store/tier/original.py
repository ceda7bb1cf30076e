"""The bytes of a content as they were pushed, before it is evicted."""

from __future__ import annotations

from dtrfast import _core
from dtrfast.errors import Corrupt, StorageFailed
from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import BlobStat
from dtrfast.store.contents import NumberedContent
from dtrfast.store.context import StoreContext
from dtrfast.store.damage import is_damage
from dtrfast.store.local_reader import LocalReader

_READ_SIZE = 1 << 20


class Original:
    """A content that is stored whole, or as chunks of an uncompressed layer."""

    def __init__(self, context: StoreContext, found: NumberedContent) -> None:
        self._context = context
        self.found = found
        self.digest = Digest("sha256", found.content.sha256)
        self.size = found.content.size

    @property
    def is_chunked(self) -> bool:
        return self.found.content.kind == "chunked"

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes, or fewer at the end. Raises `StorageFailed`, and `Corrupt` also
        for a bad sector.
        """
        length = min(length, self.size - offset)
        try:
            data = self._read(offset, length)
        except StorageFailed as error:
            if not is_damage(error):
                raise
            raise Corrupt(f"{self.digest} cannot be read: {error}") from error
        if len(data) != length:
            raise Corrupt(f"{self.digest} is shorter on disk than the index says")
        return data

    def _read(self, offset: int, length: int) -> bytes:
        stat = BlobStat(self.digest, self.size)
        parts: list[bytes] = []
        with LocalReader(self._context, stat, self.found.number, offset, length) as reader:
            for segment in reader:
                if not isinstance(segment, bytes):
                    segment = disk.read_at(segment.descriptor, segment.length, segment.offset)
                parts.append(segment)
        return b"".join(parts)

    def check_digest(self) -> None:
        """Read all bytes. Raises `Corrupt` if they have another digest, `StorageFailed`."""
        hasher = _core.Sha256()
        for offset in range(0, self.size, _READ_SIZE):
            hasher.update(self.read(offset, _READ_SIZE))
        if hasher.digest() != self.found.content.sha256:
            raise Corrupt("its file has another digest: run `dtrfast verify --deep`")
