"""Keys and values of the local tables: how they are packed and parsed.

The version of each value is checked. `docs/format.md` has the bytes.
"""

from __future__ import annotations

import struct
from typing import Literal, Self, TypeVar

import msgspec

from dtrfast.errors import Corrupt, FormatUnknown
from dtrfast.index.tables import NUMBER_SIZE, digest_key_size, number_key, number_of
from dtrfast.oci.digests import Digest

ContentKind = Literal["inline", "loose", "chunked", "recreated"]

# Kinds of data files.
LOOSE_FILE = b"L"
PACK_FILE = b"P"

_CHUNK = struct.Struct("<BBHIQQII16s")

# Flags of a chunk.
DAMAGED = 1  # its bytes on disk are not its content: never read, never a duplicate
_PART = struct.Struct("<QI")
_VERSION = 1


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """The place of a chunk. `stored` and `length` are bytes on disk and bytes of content."""

    codec: int
    references: int
    pack: int
    offset: int
    stored: int
    length: int
    hash: bytes
    flags: int = 0

    @property
    def is_damaged(self) -> bool:
        return bool(self.flags & DAMAGED)

    def encode(self) -> bytes:
        return _CHUNK.pack(
            _VERSION,
            self.codec,
            self.flags,
            self.references,
            self.pack,
            self.offset,
            self.stored,
            self.length,
            self.hash,
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        if len(data) < _CHUNK.size or data[0] != _VERSION:
            raise unreadable("a chunk record", data[0] if data else 0)
        _, codec, flags, references, pack, offset, stored, length, digest = _CHUNK.unpack_from(data)
        return cls(codec, references, pack, offset, stored, length, digest, flags)

    def referenced(self, change: int) -> Chunk:
        """Return the same chunk with `change` more references."""
        return msgspec.structs.replace(self, references=self.references + change)


class Content(msgspec.Struct, frozen=True, array_like=True):
    """A content, to which rows of BLOBS point. New fields are appended with a default."""

    version: int
    kind: ContentKind
    size: int
    stored: int  # bytes of its file or its inline row; 0 for a chunked content
    sha256: bytes
    sha512: bytes | None
    file_id: bytes | None  # of a loose blob
    pushed_at: int
    pulled_at: int = 0
    deleted_at: int = 0
    recipe_pack: int = 0  # the pack that has a copy of the recipe, for repair; 0: none
    recipe_size: int = 0  # bytes of that copy
    damaged_at: int = 0  # the time at which damage was found; 0: no damage is known


class Pack(msgspec.Struct, frozen=True, array_like=True):
    """A pack in the index. `live`: stored bytes of chunks with references, and of recipes.

    `losses` increases with every transaction in which the pack loses live bytes.
    """

    version: int
    file_id: bytes
    size: int
    live: int
    created_at: int
    key_id: int = 0
    transform: int = 0
    losses: int = 0


class Commit(msgspec.Struct, frozen=True, array_like=True):
    """The progress of a commit in slices."""

    version: int
    content: int
    pack: int  # 0: no chunk was new
    parts: int
    offset: int  # of the next recipe row


_encoder = msgspec.msgpack.Encoder()
_contents = msgspec.msgpack.Decoder(Content)
_packs = msgspec.msgpack.Decoder(Pack)
_commits = msgspec.msgpack.Decoder(Commit)


def encode(record: Content | Pack | Commit) -> bytes:
    return _encoder.encode(record)


def decode_content(data: bytes) -> Content:
    return _decoded(_contents, data, "content")


def decode_pack(data: bytes) -> Pack:
    return _decoded(_packs, data, "pack")


def decode_commit(data: bytes) -> Commit:
    return _decoded(_commits, data, "commit")


R = TypeVar("R", Content, Pack, Commit)


def _decoded(decoder: msgspec.msgpack.Decoder[R], data: bytes, noun: str) -> R:
    try:
        record = decoder.decode(data)
    except ValueError as error:
        raise Corrupt(f"a {noun} record cannot be read ({error})") from error
    if record.version != _VERSION:
        raise unreadable(f"a {noun} record", record.version)
    return record


def unreadable(what: str, version: int) -> Corrupt | FormatUnknown:
    """Return the error for a row with this version, 0 if it is too short to have one.

    A version greater than the known one is no damage: a newer dtrfast reads the row.
    """
    if version > _VERSION:
        return FormatUnknown(f"{what} has version {version}: run a newer dtrfast")
    return Corrupt(f"{what} cannot be read")


# ---- RECIPES: content number + offset of the row's first byte → type, version, payload ---------
INLINE = 1  # the bytes
FILE = 2  # a whole loose file: its id
CHUNKS = 3  # chunk id and length, repeated
SLICES = 4  # slices of chunks: see `recipe_rows`

CHUNKS_IN_ROW_MAX = 128  # 1.5 KiB: two rows share a page of the index


def recipe_key(content: int, offset: int) -> bytes:
    return number_key(content) + number_key(offset)


def recipe_content(key: bytes) -> bytes:
    """The content's key in CONTENTS, from a key of RECIPES."""
    return key[:NUMBER_SIZE]


def recipe_offset(key: bytes) -> int:
    """The offset of the row's first byte, from a key of RECIPES."""
    return number_of(key[NUMBER_SIZE:])


def inline_row(data: bytes) -> bytes:
    return bytes((INLINE, _VERSION)) + data


def file_row(file_id: bytes) -> bytes:
    return bytes((FILE, _VERSION)) + file_id


def chunks_row(parts: list[tuple[int, int]]) -> bytes:
    """`parts` are (chunk id, length)."""
    return bytes((CHUNKS, _VERSION)) + b"".join(_PART.pack(*p) for p in parts)


def row_parts(row: bytes) -> list[tuple[int, int]]:
    """Return the (chunk id, length) pairs of a CHUNKS row. Raises `Corrupt`, `FormatUnknown`."""
    payload = row_payload(row)
    if len(payload) % _PART.size:
        raise Corrupt("a recipe row has half a chunk")
    return list(_PART.iter_unpack(payload))


def row_payload(row: bytes) -> bytes:
    """Return the bytes after type and version. Raises `Corrupt`, `FormatUnknown`."""
    if len(row) < 2 or row[1] != _VERSION:
        raise unreadable("a recipe row", row[1] if len(row) > 1 else 0)
    return row[2:]


# ---- CHUNK_HASHES: XXH3-128 + chunk id → empty ------------------------------------------------
_HASH_SIZE = 16


def chunk_hash_key(digest: bytes, chunk: int) -> bytes:
    return digest + number_key(chunk)


def hashed_chunk(key: bytes) -> bytes:
    """The chunk's key in CHUNKS, from a key of CHUNK_HASHES."""
    return key[_HASH_SIZE:]


def unreferenced_chunk(key: bytes) -> bytes:
    """The chunk's key in CHUNKS, from a key of CHUNKS_UNREFERENCED: time + chunk id."""
    return key[NUMBER_SIZE:]


# ---- FILES: file id → kind, number of the content or the pack ---------------------------------
class FileOwner(msgspec.Struct, frozen=True, gc=False):
    """The owner of a data file: for LOOSE_FILE a content, for PACK_FILE a pack.

    `key`: its key in CONTENTS or PACKS.
    """

    kind: bytes
    key: bytes

    @classmethod
    def decode(cls, data: bytes) -> Self:
        return cls(data[:1], data[1:])


def loose_owner(content: int) -> bytes:
    """The value in FILES of a content's loose file."""
    return LOOSE_FILE + number_key(content)


def pack_owner(pack: int) -> bytes:
    """The value in FILES of a pack."""
    return PACK_FILE + number_key(pack)


# ---- UPLOADS_FINISHED: upload id → time, digest key, label ------------------------------------
class FinishedUpload(msgspec.Struct, frozen=True, gc=False):
    """A committed upload: the time in seconds, the blob, and the label of the upload."""

    at: int
    digest: Digest
    label: str

    def encode(self) -> bytes:
        return number_key(self.at) + self.digest.key() + self.label.encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        end = NUMBER_SIZE + digest_key_size(data[NUMBER_SIZE])
        digest = Digest.from_key(data[NUMBER_SIZE:end])
        return cls(number_of(data), digest, data[end:].decode())
