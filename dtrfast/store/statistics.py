"""What the store holds, counted as it changes: asking costs one look-up."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import STORE

_KEY = b"statistics"


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Counts, and sizes in bytes. Also used as a difference, where a value may be negative."""

    links: int = 0
    linked_bytes: int = (
        0  # what the repositories hold, each blob counted in each: the logical bytes
    )
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

    @property
    def blobs(self) -> int:
        """Distinct blobs."""
        return self.inline_blobs + self.loose_blobs + self.chunked_blobs

    @property
    def blob_bytes(self) -> int:
        """Content of distinct blobs."""
        return self.inline_bytes + self.loose_bytes + self.chunked_bytes

    @property
    def stored_bytes(self) -> int:
        """Bytes of content on disk; the index comes on top."""
        return self.inline_bytes + self.loose_bytes + self.pack_bytes

    @property
    def shared_bytes(self) -> int:
        """Logical bytes that need no disk because something else holds them."""
        return max(0, self.linked_bytes - self.stored_bytes)


_NAMES = tuple(field.name for field in fields(StoreStatistics))
_LAYOUT = struct.Struct(f"<{len(_NAMES)}q")


def read(transaction: ReadTransaction) -> StoreStatistics:
    data = transaction.get(STORE, _KEY)
    return StoreStatistics() if data is None else _decode(data)


def add(transaction: WriteTransaction, **changes: int) -> None:
    """Count: each keyword is a field and its difference."""
    now = read(transaction)
    values = [getattr(now, name) + changes.pop(name, 0) for name in _NAMES]
    assert not changes, f"no such counts: {changes}"
    transaction.put(STORE, _KEY, _LAYOUT.pack(*values))


def _decode(data: bytes) -> StoreStatistics:
    # An older record is shorter: what it does not count is zero.
    return StoreStatistics(*_LAYOUT.unpack(data.ljust(_LAYOUT.size, b"\0")[: _LAYOUT.size]))
