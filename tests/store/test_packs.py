"""Packs describe themselves, and torn or foreign packs are detected."""

from __future__ import annotations

import os
import random
import uuid
from pathlib import Path

import pytest
import xxhash

from dtrfast.errors import Corrupt, FormatUnknown
from dtrfast.machine import disk
from dtrfast.store import codec, packs
from dtrfast.store.store import Store
from tests.store.conftest import push

STORE = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
FILE = bytes(range(16))


def entry(number: int, content: bytes) -> packs.PackEntry:
    return packs.PackEntry(
        number, xxhash.xxh3_128_digest(content), codec.RAW, len(content), len(content), 0
    )


def write_pack(path: Path, records: list[list[bytes]]) -> int:
    """Write a pack of raw chunks; return its size."""
    descriptor = disk.create(path)
    size = disk.write_at(descriptor, [packs.header(STORE, FILE, 1)], 0)
    number = 0
    for contents in records:
        entries = [entry(number + i, c) for i, c in enumerate(contents)]
        number += len(contents)
        size += disk.write_at(descriptor, [packs.record_head(entries), *contents], size)
    os.close(descriptor)
    return size


def test_a_walk_finds_every_chunk(tmp_path: Path) -> None:
    contents = [[b"first", b"second"], [b"third" * 100], [b"", b"x"]]
    size = write_pack(tmp_path / "pack", contents)
    descriptor = disk.open_existing(tmp_path / "pack")
    found = list(packs.entries(descriptor, size))
    read = [disk.read_at(descriptor, e.stored, e.offset) for e in found]
    os.close(descriptor)
    assert read == [c for record in contents for c in record]
    assert [e.id for e in found] == list(range(5))
    assert all(e.hash == xxhash.xxh3_128_digest(c) for e, c in zip(found, read, strict=True))


@pytest.mark.parametrize("lost", [1, 100, 505, 520, 560, 580])
def test_a_walk_ends_at_a_torn_record(tmp_path: Path, lost: int) -> None:
    size = write_pack(tmp_path / "pack", [[b"first"], [b"second" * 80]])
    os.truncate(tmp_path / "pack", size - lost)
    descriptor = disk.open_existing(tmp_path / "pack")
    found = list(packs.entries(descriptor, size - lost))
    os.close(descriptor)
    assert len(found) == (1 if lost <= 24 + 36 + 480 else 0)


def test_a_walk_ends_at_a_record_that_does_not_check(tmp_path: Path) -> None:
    size = write_pack(tmp_path / "pack", [[b"first"], [b"second"]])
    data = bytearray((tmp_path / "pack").read_bytes())
    second = packs.HEADER_SIZE + packs.record_size(1) + len(b"first")
    data[second + 30] ^= 1
    (tmp_path / "pack").write_bytes(data)
    descriptor = disk.open_existing(tmp_path / "pack")
    assert len(list(packs.entries(descriptor, size))) == 1
    os.close(descriptor)


def test_a_header_says_whose_it_is() -> None:
    header = packs.header(STORE, FILE, 7)
    assert len(header) == packs.HEADER_SIZE == 80
    assert packs.check_header(header) == FILE


@pytest.mark.parametrize("position", range(0, 80, 7))
def test_a_damaged_header_is_refused(position: int) -> None:
    header = bytearray(packs.header(STORE, FILE, 7))
    header[position] ^= 0x40
    with pytest.raises(Corrupt):
        packs.check_header(bytes(header))


def test_a_feature_that_we_do_not_have_is_refused() -> None:
    header = bytearray(packs.header(STORE, FILE, 7)[:72])
    header[20] = 1
    with pytest.raises(FormatUnknown, match="newer"):
        packs.check_header(bytes(header) + xxhash.xxh3_64_digest(bytes(header)))


def test_the_bytes_of_a_pack_are_those_of_the_format(tmp_path: Path) -> None:
    """Golden bytes: a change here is a change of the format, which needs a new format version."""
    write_pack(tmp_path / "pack", [[b"abc"]])
    assert (tmp_path / "pack").read_bytes().hex() == (
        "4454525041434b00"  # DTRPACK
        "01000000000000000000000000000000"
        "00112233445566778899aabbccddeeff"
        "000102030405060708090a0b0c0d0e0f"
        "0000000000000000"
        "0100000000000000"
        "b47d979a8f5a2da2"
        "44545252"  # DTRR
        "01000000"
        "0300000000000000"
        "e2a1bcac47e349a3"
        "0000000000000000"
        "03000000"
        "03000000"
        "00000000"
        "06b05ab6733a618578af5f94892f3950"
        "616263"
    )


def test_the_store_writes_packs_that_can_be_walked(store: Store, data: Path) -> None:
    body = random.Random(3).randbytes(2_000_000)
    push(store.blobs, body)
    (path,) = [p for p in (data / "packs").rglob("*") if p.is_file()]
    descriptor = disk.open_existing(path)
    assert packs.check_header(disk.read_at(descriptor, packs.HEADER_SIZE, 0)).hex() == path.name
    found = list(packs.entries(descriptor, path.stat().st_size))
    content = b"".join(disk.read_at(descriptor, e.stored, e.offset) for e in found)
    os.close(descriptor)
    assert content == body
