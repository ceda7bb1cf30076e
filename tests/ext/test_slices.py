"""Copies of slices, beside a plain twin."""

from __future__ import annotations

import random
from array import array

import pytest

from dtrfast import _core

Slices = list[tuple[int, int]]  # chunk and length


def columns(slices: Slices) -> tuple[bytes, bytes]:
    lengths = array("I", [length for _, length in slices]).tobytes()
    return lengths, array("H", [chunk for chunk, _ in slices]).tobytes()


def joined(contents: list[bytes], starts: list[int], slices: Slices) -> bytes:
    """Return all plain bytes of a row."""
    places, parts = list(starts), []
    for chunk, length in slices:
        parts.append(contents[chunk][places[chunk] : places[chunk] + length])
        places[chunk] += length
    return b"".join(parts)


def row(choices: random.Random) -> tuple[list[bytes], list[int], Slices]:
    contents = [choices.randbytes(choices.randrange(400)) for _ in range(choices.randrange(1, 6))]
    starts = [choices.randrange(len(content) + 1) for content in contents]
    left = [len(content) - start for content, start in zip(contents, starts, strict=True)]
    slices = []
    for _ in range(choices.randrange(30)):
        chunk = choices.randrange(len(contents))
        length = choices.randint(0, left[chunk])
        left[chunk] -= length
        slices.append((chunk, length))
    return contents, starts, slices


@pytest.mark.parametrize("seed", range(40))
def test_any_part_of_a_row_is_copied(seed: int) -> None:
    choices = random.Random(seed)
    contents, starts, slices = row(choices)
    whole = joined(contents, starts, slices)
    for _ in range(20):
        begin = choices.randrange(-5, len(whole) + 5)
        into = bytearray(b"-" * choices.randrange(len(whole) + 10))
        expected = bytearray(into)
        for place in range(len(into)):
            if 0 <= begin + place < len(whole):
                expected[place] = whole[begin + place]
        wanted = _core.sliced_chunks(*columns(slices), len(contents), begin, begin + len(into))
        needed = [c if i in wanted else b"" for i, c in enumerate(contents)]
        _core.copy_slices(into, -begin, needed, array("I", starts).tobytes(), *columns(slices))
        assert into == expected


def test_only_chunks_with_bytes_in_the_range_are_wanted() -> None:
    slices = [(0, 10), (1, 0), (2, 5), (0, 3)]
    wanted = [
        _core.sliced_chunks(*columns(slices), 3, begin, end)
        for begin, end in ((0, 18), (10, 15), (10, 10), (14, 16), (-9, 0), (18, 30))
    ]
    assert wanted == [[0, 2], [2], [], [0, 2], [], []]


def test_wrong_rows_are_refused() -> None:
    starts = array("I", [0, 3]).tobytes()
    for contents, slices in (
        ([b"abc", b"defg"], [(0, 4)]),  # longer than its chunk
        ([b"abc", b"defg"], [(1, 1), (1, 1)]),  # its second slice is
        ([b"abc", b""], [(1, 1)]),  # the chunk is missing
        ([b"abc", b"defg"], [(2, 1)]),  # there is no such chunk
    ):
        into = bytearray(8)
        with pytest.raises(ValueError, match="a chunk is shorter"):
            _core.copy_slices(into, 0, contents, starts, *columns(slices))
    with pytest.raises(ValueError, match="names a chunk"):
        _core.sliced_chunks(*columns([(2, 1)]), 2, 0, 1)
    for lengths, indexes in ((b"\1\0\0", b"\0\0"), (b"\1\0\0\0", b"\0"), (b"", b"\0\0")):
        with pytest.raises(ValueError, match="columns"):
            _core.sliced_chunks(lengths, indexes, 2, 0, 1)
        with pytest.raises(ValueError, match="columns"):
            _core.copy_slices(bytearray(1), 0, [b"a", b"b"], starts, lengths, indexes)
    with pytest.raises(ValueError, match="columns"):
        _core.copy_slices(bytearray(1), 0, [b"a"], starts, b"", b"")


def test_offsets_far_away_copy_nothing() -> None:
    far = 1 << 62
    lengths, indexes = columns([(0, 3)])
    for offset in (far, -far):
        into = bytearray(b"--")
        _core.copy_slices(into, offset, [b"abc"], bytes(4), lengths, indexes)
        assert into == b"--"
