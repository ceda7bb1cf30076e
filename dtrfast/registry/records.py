"""The registry's records in the index. `docs/format.md` describes their bytes.

Manifests and tags have a fixed layout, because the fast path reads them without this module.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Self

import msgspec

from dtrfast.errors import Corrupt
from dtrfast.oci.digests import Digest

_MANIFEST = struct.Struct("<BBHIQ")  # version, flags, length of the media type, reserved, pushed
_TAG = struct.Struct("<BBHIQ")  # version, flags, length of the digest key, change number, set
_VERSION = 1
# A tag's record has four bytes for the number of a change.
_CHANGE_MASK = 0xFFFF_FFFF


class RepositoryRecord(msgspec.Struct, frozen=True, array_like=True):
    """A repository. New fields are appended with a default."""

    version: int
    id: int
    created_at: int
    description: str = ""
    is_public: bool = False


class RepositoryChange(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that a repository's administrators set. A field that is None stays as it is; in a
    new repository it has its default. `readme` is kept apart from the record.
    """

    description: str | None = None
    is_public: bool | None = None
    readme: str | None = None

    def apply(self, record: RepositoryRecord) -> RepositoryRecord:
        """Return the record with the fields of this change."""
        names = RepositoryRecord.__struct_fields__
        given = {name: getattr(self, name, None) for name in names}
        changed = {name: value for name, value in given.items() if value is not None}
        return msgspec.structs.replace(record, **changed)


_encoder = msgspec.msgpack.Encoder()
_repositories = msgspec.msgpack.Decoder(RepositoryRecord)


def encode_repository(record: RepositoryRecord) -> bytes:
    return _encoder.encode(record)


def decode_repository(data: bytes) -> RepositoryRecord:
    try:
        record = _repositories.decode(data)
    except ValueError as error:
        raise Corrupt(f"a repository record cannot be read ({error})") from error
    if record.version != _VERSION:
        raise _unknown_version(record.version, "repository")
    return record


class StoredManifest(msgspec.Struct, frozen=True, gc=False):
    """A manifest as pushed: its bytes, its media type, and the time in seconds since the epoch."""

    media_type: str
    body: bytes
    pushed_at: int

    def encode(self) -> bytes:
        media_type = self.media_type.encode("ascii")
        head = _MANIFEST.pack(_VERSION, 0, len(media_type), 0, self.pushed_at)
        return head + media_type + self.body

    @classmethod
    def decode(cls, data: bytes) -> Self:
        if len(data) < _MANIFEST.size:
            raise Corrupt("a manifest record is too short")
        version, _, length, _, pushed_at = _MANIFEST.unpack_from(data)
        if version != _VERSION:
            raise _unknown_version(version, "manifest")
        body_offset = _MANIFEST.size + length
        media_type = data[_MANIFEST.size : body_offset].decode("ascii")
        return cls(media_type, data[body_offset:], pushed_at)


class TagRecord(msgspec.Struct, frozen=True):
    """The digest that a tag points at, in the algorithm that the tag was set with, and the time and
    the actor that set it. `change` is the number of the change that set it, or 0 if an older
    version did. It orders the tags of one second; the record has its last 32 bits.
    """

    digest: Digest
    set_at: int
    set_by: str = ""
    change: int = 0

    def encode(self) -> bytes:
        key = self.digest.key()
        head = _TAG.pack(_VERSION, 0, len(key), self.change & _CHANGE_MASK, self.set_at)
        return head + key + self.set_by.encode("utf-8", "replace")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        if len(data) < _TAG.size:
            raise Corrupt("a tag record is too short")
        version, _, length, change, set_at = _TAG.unpack_from(data)
        if version != _VERSION:
            raise _unknown_version(version, "tag")
        end = _TAG.size + length
        return cls(Digest.from_key(data[_TAG.size : end]), set_at, data[end:].decode(), change)


@dataclass(frozen=True, slots=True)
class NamedTag:
    """A tag with its record."""

    name: str
    record: TagRecord


def set_order(record: bytes) -> int:
    """Return a number that orders tags by the time at which they were set, and those of one second
    by the number of the change. The rest of the record is not decoded.
    """
    return int.from_bytes(record[4:16], "little")


def pushed_at(record: bytes) -> int:
    """Return the time at which a manifest was pushed, without decoding the rest of its record."""
    return int.from_bytes(record[8:16], "little")


def _unknown_version(version: int, noun: str) -> Corrupt:
    return Corrupt(f"a {noun} record has version {version}: run a newer dtrfast")
