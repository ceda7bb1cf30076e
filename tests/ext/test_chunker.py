"""Cut points: never changed, bounded, independent of buffers, local to the content."""

import hashlib
import itertools
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtrfast import _core
from tests.ext import twins
from tests.ext.streams import GoldenRow, cuts_sha256, golden_rows, random_stream, stream

SEED = 77_003
SMALL = (64, 256, 1024)
GRID = [SMALL, (64, 128, 129), (100, 512, 5000), (300, 512, 600), (16384, 65536, 262144)]

each_kernel = pytest.mark.parametrize("kernel", _core.chunker_kernels())


@pytest.mark.parametrize("row", golden_rows(), ids=lambda row: f"{row['stream']}-{row['max_size']}")
def test_cut_points_are_unchanged(row: GoldenRow) -> None:
    for kernel in _core.chunker_kernels():
        sizes = row["min_size"], row["average_size"], row["max_size"]
        cuts = _core.Chunker(*sizes, kernel).cut(stream(row["stream"]), True)
        assert (len(cuts), cuts_sha256(cuts)) == (row["count"], row["sha256"])


def test_the_gear_table_is_derived_from_sha256() -> None:
    assert _core.gear_table() == twins.GEAR
    packed = b"".join(number.to_bytes(8, "big") for number in _core.gear_table())
    expected = "f9dcba8828d60687c4aa9d3ebb907e2a3f4914c01ec12207e13c11ec5a676f87"
    assert hashlib.sha256(packed).hexdigest() == expected


def test_default_sizes() -> None:
    chunker = _core.Chunker()
    assert (chunker.min_size, chunker.average_size, chunker.max_size) == (16384, 65536, 262144)


@each_kernel
@pytest.mark.parametrize("sizes", [SMALL, (64, 128, 129), (70, 128, 300)])
def test_agrees_with_the_definition(kernel: str, sizes: tuple[int, int, int]) -> None:
    for name in ("definition", "again"):
        data = random_stream(6_000, name) + bytes(700) + random_stream(50)
        assert _core.Chunker(*sizes, kernel).cut(data, True) == twins.cut(data, *sizes)


@pytest.mark.parametrize("sizes", GRID)
def test_kernels_are_identical(sizes: tuple[int, int, int]) -> None:
    generator = random.Random(SEED)
    for size in [*range(200), *(generator.randrange(600_000) for _ in range(20))]:
        data = generator.randbytes(size)
        for final in (False, True):
            cuts = [_core.Chunker(*sizes, k).cut(data, final) for k in _core.chunker_kernels()]
            assert cuts.count(cuts[0]) == len(cuts), (SEED, size)


@pytest.mark.parametrize("sizes", GRID)
def test_chunk_sizes_are_within_bounds(sizes: tuple[int, int, int]) -> None:
    for name in ("random", "text", "zeros", "mixed"):
        data = stream(name)
        cuts = _core.Chunker(*sizes).cut(data, True)
        chunk_sizes = [end - start for start, end in itertools.pairwise([0, *cuts])]
        assert cuts[-1] == len(data)
        assert all(sizes[0] <= size <= sizes[2] for size in chunk_sizes[:-1])
        assert 0 < chunk_sizes[-1] <= sizes[2]


def test_the_mean_chunk_of_random_bytes_is_near_the_average() -> None:
    cuts = _core.Chunker().cut(stream("random"), True)
    assert 0.9 < len(stream("random")) / len(cuts) / 65536 < 1.3


@pytest.mark.parametrize("byte", range(256))
def test_runs_of_one_byte_are_cut_at_the_largest_size(byte: int) -> None:
    assert _core.Chunker().cut(bytes([byte]) * 600_000, True) == [262144, 524288, 600000]


def cut_stream(chunker: _core.Chunker, pieces: list[bytes], remember: bool) -> list[int]:
    """Cut a stream that arrives in pieces, as the ingest does."""
    cuts: list[int] = []
    tail, offset, scanned = b"", 0, 0
    for piece in pieces:
        tail += piece
        ends = chunker.cut(tail, scanned=scanned)
        cuts += [offset + end for end in ends]
        last = ends[-1] if ends else 0
        tail, offset = tail[last:], offset + last
        scanned = len(tail) if remember else 0
    return cuts + [offset + end for end in chunker.cut(tail, True, scanned=scanned)]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.lists(st.integers(0, 3000), max_size=20),
    st.sampled_from(GRID[:-1]),
    st.booleans(),
)
def test_splits_make_no_difference(
    seed: int, piece_sizes: list[int], sizes: tuple[int, int, int], remember: bool
) -> None:
    ends = list(itertools.accumulate(piece_sizes, initial=0))
    data = random.Random(seed).randbytes(ends[-1])
    if seed % 3 == 0:
        data = data.replace(b"\x01", bytes(700))[: ends[-1]]
    pieces = [data[start:end] for start, end in itertools.pairwise(ends)]
    chunker = _core.Chunker(*sizes)
    assert cut_stream(chunker, pieces, remember) == chunker.cut(data, True)


def test_splits_at_every_byte_make_no_difference() -> None:
    data = random_stream(3000)
    chunker = _core.Chunker(*SMALL)
    expected = chunker.cut(data, True)
    for remember in (False, True):
        assert cut_stream(chunker, [bytes([b]) for b in data], remember) == expected
        for split in range(len(data)):
            assert cut_stream(chunker, [data[:split], data[split:]], remember) == expected


@pytest.mark.parametrize("edit", ["insert", "delete", "replace"])
def test_a_changed_byte_changes_few_chunks(edit: str) -> None:
    """Cuts are the same again after an edit: 880 of 900 edits changed one chunk, none over 7."""
    data = stream("random")
    chunker = _core.Chunker(1024, 4096, 16384)

    def chunks(data: bytes) -> set[bytes]:
        return {data[a:b] for a, b in itertools.pairwise([0, *chunker.cut(data, True)])}

    before = chunks(data)
    for position in random.Random(SEED).sample(range(len(data)), 10):
        middle = {"insert": data[position : position + 1] * 2, "delete": b"", "replace": b"!"}[edit]
        changed = data[:position] + middle + data[position + 1 :]
        assert len(chunks(changed) - before) <= 16, (SEED, position)


def test_the_tail_is_not_cut_before_the_end() -> None:
    chunker = _core.Chunker(*SMALL)
    assert chunker.cut(b"") == chunker.cut(b"", True) == []
    assert chunker.cut(bytes(1023)) == []
    assert chunker.cut(bytes(1024)) == [1024]
    assert chunker.cut(bytes(2047)) == [1024]
    assert chunker.cut(bytes(1), True) == [1]
    assert chunker.cut(bytes(1025), True) == [1024, 1025]
    assert chunker.cut(bytes(2048), True) == [1024, 2048]


@pytest.mark.parametrize(
    "sizes",
    [
        (63, 128, 256),
        (128, 128, 256),
        (64, 256, 256),
        (64, 100, 256),
        (64, 128, (1 << 30) + 1),
        (-1, 128, 256),
        (256, 128, 64),
    ],
)
def test_impossible_sizes_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="chunk size"):
        _core.Chunker(*sizes)


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="no kernel 'fast'"):
        _core.Chunker(kernel="fast")
    chunker = _core.Chunker(*SMALL)
    for scanned in (-1, 11, 1024):
        with pytest.raises(ValueError, match="cannot be scanned"):
            chunker.cut(bytes(10 if scanned != 1024 else 2000), scanned=scanned)
    with pytest.raises(BufferError):
        chunker.cut(memoryview(bytes(100))[::2])


def test_one_chunker_serves_many_threads() -> None:
    data, chunker = stream("random"), _core.Chunker()
    expected, results = chunker.cut(data, True), list[list[int]]()
    threads = [
        threading.Thread(target=lambda: results.append(chunker.cut(data, True))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4
