"""Rows of recipes: the chunks to which they refer, and plain bytes as slices of chunks.

A header of a tar and the content of a small file are slices of some hundred bytes. So a row has its
slices in columns, which zstd makes small. docs/format.md has the bytes.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import zstandard

from dtrfast.errors import Corrupt, FormatUnknown
from dtrfast.index.engine import Engine
from dtrfast.index.tables import RECIPES, number_key
from dtrfast.store import records

# Plain bytes, slices and chunks of a row. A replay reads the rows of about 2 MiB at a time, and a
# transaction that adds or removes a row touches all its chunks.
PLAIN_SIZE_MAX = 1 << 20
SLICES_MAX = 4096
CHUNKS_MAX = 256

_COUNTS = struct.Struct("<II")
_RAW, _ZSTD = 0, 1
_BODY_SIZE_MAX = _COUNTS.size + CHUNKS_MAX * 16 + SLICES_MAX * 6
_LEVEL = 3
_ROWS_READ = 8  # rows that one transaction reads: they describe up to 8 MiB


@dataclass(frozen=True, slots=True)
class Slice:
    """`length` plain bytes, which continue the chunk with the index `chunk`.

    The slices of one chunk follow each other without a gap.
    """

    chunk: int
    length: int


@dataclass(frozen=True, slots=True)
class ChunkUse:
    """A chunk that a row names. Its first slice in this row begins at `start` of the content."""

    id: int
    length: int
    start: int


@dataclass(frozen=True, slots=True)
class SliceRow:
    """Plain bytes as slices of `chunks`."""

    chunks: list[ChunkUse]
    slices: list[Slice]

    @property
    def length(self) -> int:
        """The plain bytes of the row."""
        return sum(one.length for one in self.slices)

    def encode(self) -> bytes:
        """Return the row as RECIPES has it."""
        uses = self.chunks
        body = b"".join(
            (
                _COUNTS.pack(len(uses), len(self.slices)),
                array("Q", [use.id for use in uses]).tobytes(),
                array("I", [use.length for use in uses]).tobytes(),
                array("I", [use.start for use in uses]).tobytes(),
                array("I", [one.length for one in self.slices]).tobytes(),
                array("H", [one.chunk for one in self.slices]).tobytes(),
            )
        )
        frame = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False).compress(body)
        codec, stored = (_ZSTD, frame) if len(frame) < len(body) else (_RAW, body)
        return bytes((records.SLICES, 1, codec)) + stored


@dataclass(frozen=True, slots=True)
class Columns:
    """A row as it is stored: the columns of its chunks and of its slices, as little-endian bytes.

    `starts` has 4 octets for each chunk, `lengths` 4 and `indexes` 2 for each slice. An index may
    be too high for the chunks.
    """

    ids: list[int]
    chunk_lengths: bytes
    starts: bytes
    lengths: bytes
    indexes: bytes

    @property
    def length(self) -> int:
        """The plain bytes of the row."""
        return sum(memoryview(self.lengths).cast("I"))


def decode_columns(row: bytes) -> Columns:
    """Return a row of RECIPES. Raises `Corrupt`, `FormatUnknown`."""
    payload = records.row_payload(row)
    body = _body(payload)
    chunk_count, slice_count = _COUNTS.unpack_from(body)
    sizes = (8 * chunk_count, 4 * chunk_count, 4 * chunk_count, 4 * slice_count, 2 * slice_count)
    if len(body) != _COUNTS.size + sum(sizes):
        raise Corrupt("a recipe row has another length than it states")
    ends = list(accumulate(sizes, initial=_COUNTS.size))
    ids, *others = (body[begin:end] for begin, end in pairwise(ends))
    return Columns(list(memoryview(ids).cast("Q")), *others)


def decode(row: bytes) -> SliceRow:
    """Return a row of RECIPES. Raises `Corrupt`, `FormatUnknown`."""
    columns = decode_columns(row)
    chunk_lengths, starts, lengths = (
        memoryview(column).cast("I")
        for column in (columns.chunk_lengths, columns.starts, columns.lengths)
    )
    indexes = memoryview(columns.indexes).cast("H")
    if indexes and max(indexes) >= len(columns.ids):
        raise Corrupt("a recipe row names a chunk that it does not have")
    uses = [ChunkUse(*use) for use in zip(columns.ids, chunk_lengths, starts, strict=True)]
    return SliceRow(uses, list(map(Slice, indexes, lengths)))


def _body(payload: bytes) -> bytes:
    if payload[:1] == bytes((_RAW,)) and _COUNTS.size <= len(payload) - 1 <= _BODY_SIZE_MAX:
        return payload[1:]
    try:
        if payload[:1] == bytes((_ZSTD,)):
            size = zstandard.frame_content_size(payload[1:])
            if _COUNTS.size <= size <= _BODY_SIZE_MAX:
                return zstandard.ZstdDecompressor().decompress(payload[1:])
    except zstandard.ZstdError as error:
        raise Corrupt(f"a recipe row does not decompress ({error})") from error
    if payload and payload[0] > _ZSTD:
        raise FormatUnknown("a recipe row has an unknown codec: run a newer dtrfast")
    raise Corrupt("a recipe row has a size that no row has")


@dataclass(slots=True)
class _OpenRow:
    """A row that is being filled."""

    size: int = 0
    chunks: list[ChunkUse] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    indexes: dict[int, int] = field(default_factory=dict)  # of chunks of the batch

    def is_full(self) -> bool:
        return (
            self.size >= PLAIN_SIZE_MAX
            or len(self.slices) >= SLICES_MAX
            or len(self.chunks) >= CHUNKS_MAX
        )


def rows_of(slices: Sequence[Slice], parts: Sequence[tuple[int, int]]) -> Iterator[SliceRow]:
    """The rows of a batch. `parts`: id and length of each chunk to which the slices refer."""
    used = [0] * len(parts)
    row = _OpenRow()
    for one in slices:
        if row.is_full():
            yield SliceRow(row.chunks, row.slices)
            row = _OpenRow()
        index = row.indexes.get(one.chunk)
        if index is None:
            index = row.indexes[one.chunk] = len(row.chunks)
            row.chunks.append(ChunkUse(*parts[one.chunk], used[one.chunk]))
        row.slices.append(Slice(index, one.length))
        row.size += one.length
        used[one.chunk] += one.length
    if row.slices:
        yield SliceRow(row.chunks, row.slices)


def chunk_ids(row: bytes) -> list[int]:
    """Return the chunks to which a row refers, once for each reference.

    Raises `Corrupt`, `FormatUnknown`.
    """
    kind = _kind_of(row)
    if kind == records.CHUNKS:
        return [identifier for identifier, _ in records.row_parts(row)]
    return [use.id for use in decode(row).chunks] if kind == records.SLICES else []


def _kind_of(row: bytes) -> int:
    if not row or row[0] == 0:
        raise Corrupt("a recipe row has no type")
    if row[0] > records.SLICES:
        raise FormatUnknown("a recipe row has an unknown type: run a newer dtrfast")
    return row[0]


def known_chunk_ids(row: bytes) -> list[int]:
    """Return the chunks to which a row refers; none if the row cannot be read."""
    try:
        return chunk_ids(row)
    except (Corrupt, FormatUnknown):
        return []


def read(
    engine: Engine, recipe: int, begin: int = 0, end: int = sys.maxsize
) -> Iterator[tuple[int, bytes]]:
    """The rows that describe the bytes `begin` to `end` of a recipe, each with its offset.

    Each transaction reads some of them.
    """
    prefix = number_key(recipe)
    behind = records.recipe_key(recipe, begin + 1)
    with engine.read() as transaction:
        rows = list(transaction.scan(RECIPES, prefix, after=behind, limit=1, reverse=True))
    after: bytes | None = None
    while True:
        for key, row in rows:
            after = key
            if records.recipe_offset(key) >= end:
                return
            yield records.recipe_offset(key), row
        with engine.read() as transaction:
            rows = list(transaction.scan(RECIPES, prefix, after=after, limit=_ROWS_READ))
        if not rows:
            return


def row_length(row: bytes) -> int:
    """Return the bytes of content that a row of chunks or slices describes; 0 for other rows.

    Raises `Corrupt`, `FormatUnknown`.
    """
    kind = _kind_of(row)
    if kind == records.CHUNKS:
        return sum(length for _, length in records.row_parts(row))
    return decode(row).length if kind == records.SLICES else 0
