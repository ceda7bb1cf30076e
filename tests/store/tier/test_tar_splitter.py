"""Plain bytes of layers are cut so that versions of a layer share chunks."""

from __future__ import annotations

import io
import random
import struct
import tarfile
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtrfast import _core
from dtrfast.store.tier.tar_splitter import INPUT_SIZE_MIN, LARGE_SIZE_MIN, TarSplitter, pax_size
from tests.store.tier.layers import tar, text

Cut = list[
    tuple[bytes, list[bytes]]
]  # of each batch: its bytes as the slices give them, its chunks


def split(data: bytes, batch_size: int = 1 << 30) -> Cut:
    """Split plain bytes in batches, as `PlainSource` does."""
    splitter = TarSplitter()
    held = memoryview(data)
    cut: Cut = []
    while held:
        part = held[: max(batch_size, INPUT_SIZE_MIN)]
        is_last = len(part) == len(held)
        batch = splitter.split(part, final=is_last)
        chunks = [bytes(chunk) for chunk in batch.chunks]
        used = [0] * len(chunks)
        plain = bytearray()
        for one in batch.slices:
            assert one.length > 0
            plain += chunks[one.chunk][used[one.chunk] : used[one.chunk] + one.length]
            used[one.chunk] += one.length
        assert used == [len(chunk) for chunk in chunks], "slices cover each chunk"
        assert max(map(len, chunks)) <= 256 * 1024
        assert 0 < batch.size <= len(part)
        assert batch.size == len(plain)
        cut.append((bytes(plain), chunks))
        held = held[batch.size :]
    return cut


def chunks_of(data: bytes) -> list[bytes]:
    return [chunk for _, chunks in split(data) for chunk in chunks]


# ---- any bytes -----------------------------------------------------------------------------------
def header(kind: bytes, size: bytes, *, is_broken: bool = False) -> bytes:
    """Return a block that is a header, or nearly one."""
    block = bytearray(512)
    block[:4] = b"name"
    block[124:136] = size
    block[148:156] = b" " * 8
    block[156:157] = kind
    total = sum(block) + is_broken
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


octal_sizes = st.one_of(
    st.integers(0, 2000), st.sampled_from([32767, 32768, 32769, 70_000, 8**11 - 1])
).map(lambda size: b"%011o\0" % size)
other_sizes = st.one_of(
    st.integers(0, 1 << 63).map(lambda n: b"\x80" + n.to_bytes(11, "big")),
    st.sampled_from([b"\xff" * 12, b" " * 12, b"x" * 12, b"12 34\0\0\0\0\0\0\0"]),
)
bodies = st.one_of(
    st.binary(max_size=1600),
    st.integers(0, 9).map(lambda n: text(n, 40_000 + n * 300)),
    st.just(bytes(1024)),
    st.sampled_from([b"13 size=9999\n", b"30 mtime=1.5\n13 size=40000\n", b"x size=1"]),
)
blocks = st.builds(
    header,
    st.sampled_from([bytes([kind]) for kind in b"0\x007123456xgLKSVDMAN"]),
    st.one_of(octal_sizes, octal_sizes, other_sizes),
    is_broken=st.sampled_from([False] * 9 + [True]),
)
padded = bodies.map(lambda body: body + bytes(-len(body) % 512))
streams = st.lists(st.one_of(blocks, padded, bodies), min_size=1, max_size=12).map(b"".join)


@settings(max_examples=60, deadline=None)
@given(streams)
def test_slices_are_the_input_whatever_it_is(data: bytes) -> None:
    assert b"".join(plain for plain, _ in split(data)) == data


@settings(max_examples=60, deadline=None)
@given(streams)
def test_files_that_are_taken_at_once_are_cut_as_one_by_one(data: bytes) -> None:
    at_once = split(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_core, "tar_files", lambda data, offset, size_max: ([], offset))
        assert split(data) == at_once


def test_small_files_of_a_tar() -> None:
    bodies = [b"a" * 511, b"", b"b" * 512, b"c" * 513]
    data = tar([(str(number), body) for number, body in enumerate(bodies)])
    begins = (512, 2048, 3072)
    files = list(zip(begins, (511, 512, 513), strict=True))
    assert _core.tar_files(data, 0, 513) == (files, 4096)
    assert _core.tar_files(data, 0, 512) == (files[:2], 2560), "a larger file"
    assert _core.tar_files(data[:4095], 0, 513) == (files[:2], 2560), "not all of it is here"
    assert _core.tar_files(data, 2560, 513) == (files[2:], 4096)
    assert _core.tar_files(data, 4096, 513) == ([], 4096), "the end of the archive"
    assert _core.tar_files(data, len(data), 513) == ([], len(data))
    links = header(b"1", b"%011o\0" % 5000) + header(b"5", bytes(12))
    assert _core.tar_files(links + data, 0, 511) == ([(512 + 1024, 511)], 2048 + 512)
    extension = header(b"x", b"%011o\0" % 20)
    assert _core.tar_files(extension + data, 0, 513) == ([], 0)
    for offset in (-1, len(data) + 1):
        with pytest.raises(ValueError, match="outside"):
            _core.tar_files(data, offset, 513)


def archive(form: int) -> bytes:
    """Return a tar with entries of all kinds."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as made:
        for number, size in enumerate((0, 1, 511, 512, 513, 9000, 32_767, 32_768, 32_769, 300_000)):
            entry = tarfile.TarInfo(f"{'long/' * 40 * (number % 2)}{number}")
            entry.size = size
            if form == tarfile.PAX_FORMAT:
                entry.pax_headers = {"size": str(size), "mtime": "1.25", "LIBARCHIVE.x": "\u00e9"}
            made.addfile(entry, io.BytesIO(text(number, size)))
        for kind in (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            entry = tarfile.TarInfo(f"kind {kind!r}")
            entry.type, entry.linkname = kind, "0"
            made.addfile(entry)
        entry = tarfile.TarInfo("the end")
        entry.size = 100
        made.addfile(entry, io.BytesIO(text("end", 100)))
    return buffer.getvalue()


def test_entries_of_all_kinds() -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        try:
            data = archive(form)
        except ValueError:  # ustar has no such long names
            data = tar([("a", text(1, 3000)), ("b", text(2, 90_000))])
        for odd in (data, data + b"more bytes" * 99, data[:-700], data[: len(data) // 2]):
            assert b"".join(plain for plain, _ in split(odd)) == odd
        small = text(5, 9000)
        found = [chunk for chunk in chunks_of(data) if small in chunk]
        if form != tarfile.USTAR_FORMAT:
            assert found, "the tar was understood to its end"
            assert all(b"ustar" not in chunk for chunk in found), "headers are apart"


def test_a_hard_link_with_a_size_has_no_content() -> None:
    after = text("after", 20_000)
    entry = tarfile.TarInfo("b")
    entry.size = len(after)
    data = header(b"1", b"%011o\0" % 5000) + entry.tobuf() + after + bytes(-len(after) % 512)
    assert after in chunks_of(data)


def test_a_size_of_an_extension_counts() -> None:
    """The header says 0, as it does for files that are too large for it."""
    body = text("body", 50_000)
    record = b"14 size=50000\n"
    extension = header(b"x", b"%011o\0" % len(record)) + record + bytes(-len(record) % 512)
    entry = header(b"0", b"%011o\0" % 0)
    data = (
        extension + entry + body + bytes(-len(body) % 512) + tar([("next", text("next", 20_000))])
    )
    found = chunks_of(data)
    assert text("next", 20_000) in found
    assert b"".join(found).count(body) == 1


def test_sizes_in_extensions() -> None:
    cases = [
        (b"13 size=9999\n", 9999),
        (b"11 path=ab\n13 size=9999\n", 9999),
        (b"13 size=9999\n12 size=123\n", 123),
        (b"13 size=-999\n", 7),
        (b"12 size=1.5\n", 7),
        (b"30 size=" + b"9" * 21 + b"\n", 7),
        (b"0 size=1\n", 7),
        (b"x size=1\n", 7),
        (b"size=1\n", 7),
        (b"99 size=12\n", 12),
        (b"", 7),
        (b"\0" * 40, 7),
    ]
    for records, size in cases:
        assert pax_size(records, 7) == size, records


def test_numbers_in_headers() -> None:
    large = 9 << 30
    for size, expected in [
        (b"00000000007\0", 7),
        (b"         7 \0", 7),
        (b"777777777777", 8**12 - 1),
        (b"\x80" + large.to_bytes(11, "big"), large),
        (b"\x80" + (1 << 80).to_bytes(11, "big"), None),
        (b"\xff" * 12, None),
        (b"8" * 12, None),
    ]:
        found = _core.tar_header(header(b"0", size), 0)
        assert found == (None if expected is None else (ord("0"), expected)), size
    assert _core.tar_header(bytes(512), 0) == (-1, 0)
    assert _core.tar_header(header(b"0", b"%011o\0" % 7, is_broken=True), 0) is None
    for offset in (-1, 1, 600):
        try:
            _core.tar_header(bytes(512), offset)
        except ValueError:
            continue
        raise AssertionError(offset)


# ---- deduplication -------------------------------------------------------------------------------
def many(count: int = 120) -> list[tuple[str, bytes]]:
    sizes = random.Random(1)
    return [(f"file/{n}", text(f"file {n}", sizes.randrange(100, 12_000))) for n in range(count)]


def is_of_headers(chunk: bytes) -> bool:
    return chunk[257:262] == b"ustar"


def test_a_changed_time_of_every_file_changes_no_chunk_of_content() -> None:
    files = [*many(), ("large", text("large", 300_000))]
    old, new = chunks_of(tar(files)), chunks_of(tar(files, mtime=1_700_000_000))
    contents = [chunk for chunk in old if not is_of_headers(chunk)]
    assert [chunk for chunk in new if not is_of_headers(chunk)] == contents
    assert len(contents) > 5
    assert sum(map(len, contents)) == sum(len(body) for _, body in files)


def test_an_inserted_file_changes_one_group() -> None:
    files = many()
    old = Counter(chunk for chunk in chunks_of(tar(files)) if not is_of_headers(chunk))
    files.insert(60, ("inserted", b"a small file"))
    new = Counter(chunk for chunk in chunks_of(tar(files)) if not is_of_headers(chunk))
    assert len(old) > 5
    assert len(new - old) == 1
    assert len(old - new) == 1


def test_chunks_of_a_large_file_do_not_depend_on_the_files_before_it() -> None:
    large = text("large", 700_000)
    whole = set(chunks_of(tar([("large", large)])))
    behind = set(chunks_of(tar([*many(30), ("large", large)])))
    shared = [chunk for chunk in whole & behind if chunk in large]
    assert sum(map(len, shared)) == len(large)


def test_a_file_is_large_from_half_a_chunk_on() -> None:
    for size, is_alone in ((LARGE_SIZE_MIN - 1, False), (LARGE_SIZE_MIN, True)):
        body = text("edge", size)
        found = chunks_of(tar([("a", b"small"), ("b", body), ("c", b"small")]))
        assert (body in found) == is_alone, size


def test_chunks_do_not_depend_on_the_batches_but_for_groups_at_their_ends() -> None:
    large = random.Random(5).randbytes(9_000_000)
    data = tar([*many(), ("large", large), *many(60)])
    whole = split(data)
    parts = split(data, INPUT_SIZE_MIN)
    assert len(whole) == 1
    assert len(parts) > 2
    assert b"".join(plain for plain, _ in parts) == data
    before = Counter(chunk for chunk in whole[0][1] if not is_of_headers(chunk))
    after = Counter(chunk for _, chunks in parts for chunk in chunks if not is_of_headers(chunk))
    assert len(before - after) <= len(parts), "a group may end with its batch"
    assert all(after[chunk] for chunk in before if chunk in large)


def test_a_truncated_large_file_and_a_huge_size_end_at_the_end() -> None:
    huge = header(b"0", b"\x80" + struct.pack(">3xQ", 1 << 50))
    data = huge + text("huge", 100_000)
    assert b"".join(plain for plain, _ in split(data)) == data
    assert b"".join(plain for plain, _ in split(data, 4096)) == data
