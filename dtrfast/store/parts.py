"""The parts file of an upload: one fixed record a chunk, in the order of the blob.

It holds what the commit needs: which chunk, how long, and for a chunk that this upload wrote,
where. Appended to and read in slices, so that a blob of any size needs no memory in proportion.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from dtrfast.machine import disk

_PART = struct.Struct("<QQII16sB7x")
PART_SIZE = _PART.size


class Part(msgspec.Struct, frozen=True, gc=False):
    """A chunk of the upload. `is_new`: this upload's pack holds it, and the index does not know it
    yet.
    """

    id: int
    hash: bytes
    length: int
    is_new: bool
    codec: int = 0
    offset: int = 0
    stored: int = 0

    def encode(self) -> bytes:
        flags = self.codec | (0x80 if self.is_new else 0)
        return _PART.pack(self.id, self.offset, self.length, self.stored, self.hash, flags)


def decode(data: bytes) -> Iterator[Part]:
    for identifier, offset, length, stored, digest, flags in _PART.iter_unpack(data):
        yield Part(identifier, digest, length, bool(flags & 0x80), flags & 0x7F, offset, stored)


def read(descriptor: int, first: int, count: int) -> list[Part]:
    """Parts `first` to `first + count`, all of which exist."""
    return list(decode(disk.read_at(descriptor, count * PART_SIZE, first * PART_SIZE)))
