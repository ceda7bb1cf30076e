"""Rows of slices come back as they went in, and hostile rows are refused."""

from __future__ import annotations

import os
import random
import struct
import tempfile

import pytest
import xxhash
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dtrfast.errors import Corrupt, FormatUnknown
from dtrfast.store import packs, recipe_rows, records
from dtrfast.store.packs import ReplayPiece
from dtrfast.store.recipe_rows import ChunkUse, Slice, SliceRow
from dtrfast.store.tier import replays
from dtrfast.store.tier.replays import Replay, SegmentRow

lengths = st.lists(st.integers(1, 256 * 1024), min_size=1, max_size=400)


@settings(max_examples=50, deadline=None)
@given(lengths, st.randoms(use_true_random=False))
def test_rows_have_all_slices_in_order(parts: list[int], choices: random.Random) -> None:
    """Each chunk is used up by slices that are spread over the rows."""
    left = list(parts)
    slices: list[Slice] = []
    while any(left):
        chunk = choices.choice([n for n, size in enumerate(left) if size])
        length = min(left[chunk], choices.choice([left[chunk], 100, 70_000]))
        slices.append(Slice(chunk, length))
        left[chunk] -= length
    places = [(1000 + n, length) for n, length in enumerate(parts)]
    used = dict.fromkeys((identifier for identifier, _ in places), 0)
    found: list[tuple[int, int]] = []
    for row in recipe_rows.rows_of(slices, places):
        again = recipe_rows.decode(row.encode())
        assert again == row
        assert len(row.slices) <= recipe_rows.SLICES_MAX
        assert len(row.chunks) <= recipe_rows.CHUNKS_MAX
        assert row.length == recipe_rows.row_length(row.encode())
        assert recipe_rows.chunk_ids(row.encode()) == [use.id for use in row.chunks]
        for use in row.chunks:
            assert use.start == used[use.id]
            assert use.length == parts[use.id - 1000]
        for one in row.slices:
            found.append((row.chunks[one.chunk].id, one.length))
            used[row.chunks[one.chunk].id] += one.length
    assert found == [(1000 + one.chunk, one.length) for one in slices]


def slices_row(body: bytes, codec: int = 0) -> bytes:
    return bytes((records.SLICES, 1, codec)) + body


def test_hostile_rows_are_corrupt() -> None:
    whole = SliceRow([ChunkUse(5, 100, 0)], [Slice(0, 60), Slice(0, 40)])
    body = struct.pack("<IIQIIIIHH", 1, 2, 5, 100, 0, 60, 40, 0, 0)
    assert recipe_rows.decode(slices_row(body)) == whole
    compress = zstandard.ZstdCompressor().compress
    rows = {
        "nothing": b"",
        "a type alone": bytes((records.SLICES,)),
        "an older version": bytes((records.SLICES, 0, 0)) + body,
        "no codec": bytes((records.SLICES, 1)),
        "no counts": slices_row(b""),
        "half of the counts": slices_row(body[:5]),
        "a missing slice": slices_row(body[:-2]),
        "a byte too many": slices_row(body + b"\0"),
        "a chunk that is not there": slices_row(body[:-1] + b"\1"),
        "huge counts": slices_row(struct.pack("<II", 0xFFFFFFFF, 0xFFFFFFFF)),
        "no frame": slices_row(b"\x28\xb5\x2f\xfd", 1),
        "no zstd": slices_row(b"text", 1),
        "a torn frame": slices_row(compress(body)[:-3], 1),
        "a frame of a huge size": slices_row(compress(bytes(1 << 20)), 1),
        "a frame of nothing": slices_row(compress(b""), 1),
    }
    for what, row in rows.items():
        try:
            recipe_rows.decode(row)
        except Corrupt:
            continue
        raise AssertionError(what)


def test_rows_of_a_newer_version_are_not_corrupt() -> None:
    body = struct.pack("<IIQIIIIHH", 1, 2, 5, 100, 0, 60, 40, 0, 0)
    for row in (bytes((records.SLICES, 2, 0)) + body, slices_row(body, 2)):
        with pytest.raises(FormatUnknown, match="run a newer dtrfast"):
            recipe_rows.decode(row)
    for read in (recipe_rows.chunk_ids, recipe_rows.row_length):
        with pytest.raises(FormatUnknown, match="run a newer dtrfast"):
            read(b"\5\1")
        for row in (b"", b"\0\1"):
            with pytest.raises(Corrupt):
                read(row)


def test_replays_and_segments_of_other_versions_are_refused() -> None:
    replay = Replay(1, 9, b"h", b"t", 5, 6, 7, 8, 9, replays.hash_frame(b"h", b"t"))
    assert replays.decode(replays.encode(replay)) == replay
    assert replay.has_its_frame
    row = SegmentRow(5, b"h" * 16, b"state")
    assert SegmentRow.decode(row.encode()) == row
    for data in (b"", b"\x90", b"\x91\x02", replays.encode(replay)[:-1]):
        with pytest.raises(Corrupt):
            replays.decode(data)
    newer = bytes([0x9A, 2]) + replays.encode(replay)[2:]
    with pytest.raises(FormatUnknown, match="version 2"):
        replays.decode(newer)
    with pytest.raises(FormatUnknown, match="version 2"):
        SegmentRow.decode(b"\x02" + row.encode()[1:])
    for data in (b"", b"\0" + row.encode()[1:], row.encode()[:24]):
        with pytest.raises(Corrupt):
            SegmentRow.decode(data)


def test_a_copy_of_rows_with_wrong_counts_is_no_record() -> None:
    rows = [(1, 0, b"segment"), (2, 0, b"slices"), (0, 0, b"head")]
    piece = ReplayPiece(b"s" * 32, 12, rows)
    record = packs.replay_piece(piece)
    assert list(walk(record)) == [piece]
    head = packs._REPLAY_HEAD
    magic, count, size, content, sha256 = head.unpack_from(record)
    body = record[packs._REPLAY_HEAD_SIZE :]
    for what, fields in {
        "a row too many": (magic, count + 1, size, content, sha256),
        "a row too few": (magic, count - 1, size, content, sha256),
        "no rows": (magic, 0, 0, content, sha256),
        "a shorter body": (magic, count, size - 1, content, sha256),
        "a longer body": (magic, count, size + 9, content, sha256),
    }.items():
        start = head.pack(*fields)
        kept = body[: fields[2]]
        check = xxhash.xxh3_64_digest(start + kept)
        assert list(walk(start + check + kept)) == [], what


def walk(record: bytes) -> list[packs.Record]:
    """Return the records behind the header of a pack."""
    with tempfile.TemporaryFile() as file:
        file.write(bytes(packs.HEADER_SIZE) + record)
        file.flush()
        size = os.fstat(file.fileno()).st_size
        return [one for one, _ in packs.walk(file.fileno(), size)]
