"""The parts file of an upload: one fixed record a chunk, in the order of the blob.

A record has the chunk's id and length, and for a chunk that this upload wrote, its place in the
pack. The file is appended to and read in slices, so that memory does not grow with the blob.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from dtrfast.machine import disk

_PART = struct.Struct("<QQII16sB7x")
PART_SIZE = _PART.size


class UploadPart(msgspec.Struct, frozen=True, gc=False):
    """A chunk of the upload. `is_new`: it is in this upload's pack and not in the index yet.

    `length`: bytes of content. `offset` and `stored`: start and size in the upload's pack, 0 for a
    chunk of another pack. `codec`: see `codec.decode`.
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


def decode(data: bytes) -> Iterator[UploadPart]:
    for identifier, offset, length, stored, digest, flags in _PART.iter_unpack(data):
        yield UploadPart(
            identifier, digest, length, bool(flags & 0x80), flags & 0x7F, offset, stored
        )


def read(descriptor: int, first: int, count: int) -> list[UploadPart]:
    """Return `count` parts from the part `first` on. All of them must exist."""
    return list(decode(disk.read_at(descriptor, count * PART_SIZE, first * PART_SIZE)))
