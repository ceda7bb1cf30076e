"""Ranged reads of a device on which the kernel reads far ahead."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from dtrfast.machine import mounts
from dtrfast.store import codec, read_ahead
from dtrfast.store.blobs import Extent, Segment
from dtrfast.store.read_ahead import STEP_SIZE, ReadAhead, fetch, is_cached, kernel_size
from dtrfast.store.store import Store
from tests.store.conftest import push, read_all

CHUNK_SIZE_MAX = 256 * 1024
SIZE = 4_000_000
BODIES = {
    "loose": b"\x1f\x8b" + random.Random(1).randbytes(SIZE - 2),
    "raw chunks": random.Random(2).randbytes(SIZE),
    "compressed chunks": random.Random(3).randbytes(SIZE // 2).hex().encode(),
}
RANGES = ((0, SIZE), (1, 1), (STEP_SIZE - 1, 2), (3, 2 * STEP_SIZE), (1_000_000, SIZE - 1_000_000))


def size_of(segment: Segment) -> int:
    return segment.length if isinstance(segment, Extent) else len(segment)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Simulate a disk on which the kernel reads so many bytes ahead, with an empty page cache."""

    def pretend(size: int) -> None:
        monkeypatch.setattr(read_ahead, "kernel_size", lambda device: size)
        monkeypatch.setattr(read_ahead, "is_cached", lambda *stretch: False)

    return pretend


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of bytes of each request to the kernel to read ahead."""
    sizes: list[int] = []

    def note(descriptor: int, offset: int, length: int) -> None:
        sizes.append(length)
        fetch(descriptor, offset, length)

    monkeypatch.setattr(read_ahead, "fetch", note)
    return sizes


def test_a_range_is_the_same_in_small_steps(store: Store, device: Callable[[int], None]) -> None:
    device(8 << 20)
    for kind, body in BODIES.items():
        digest = push(store.blobs, body)
        for offset, length in RANGES:
            reader = store.blobs.open_range(digest, offset, length)
            assert read_all(reader) == body[offset : offset + length], (kind, offset, length)
            with store.blobs.open_range(digest, offset, length) as steps:
                largest = max(size_of(segment) for segment in steps)
            assert largest < STEP_SIZE + CHUNK_SIZE_MAX, (kind, offset, length)


def test_the_disk_is_asked_for_two_steps_and_nothing_else(
    store: Store, device: Callable[[int], None], asked: list[int]
) -> None:
    device(8 << 20)
    for kind, body in BODIES.items():
        digest = push(store.blobs, body)
        asked.clear()
        taken = 0
        with store.blobs.open_range(digest, 0, SIZE) as reader:
            for segment in reader:
                ahead = (
                    sum(asked) - taken if kind != "compressed chunks" else sum(asked) - taken // 2
                )
                assert ahead <= 2 * STEP_SIZE + CHUNK_SIZE_MAX, kind
                taken += size_of(segment)
        assert sum(asked) <= SIZE, kind
        asked.clear()
        read_all(store.blobs.open_range(digest, 5, 1000))
        assert sum(asked) <= (1000 if kind != "compressed chunks" else CHUNK_SIZE_MAX), kind


def test_one_chunk_is_decompressed_ahead(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = push(store.blobs, BODIES["compressed chunks"])
    decompressed = 0

    def decompress(data: bytes, length: int) -> bytes:
        nonlocal decompressed
        decompressed += length
        return real(data, length)

    real = codec.decompress
    monkeypatch.setattr(codec, "decompress", decompress)
    taken = 0
    with store.blobs.open_range(digest, 0, SIZE) as reader:
        for segment in reader:
            assert decompressed - taken <= CHUNK_SIZE_MAX
            taken += size_of(segment)
    assert taken == SIZE == decompressed


def test_the_kernel_takes_over(store: Store, device: Callable[[int], None]) -> None:
    size = 300 * 1024
    device(size)
    digest = push(store.blobs, BODIES["loose"])
    with store.blobs.open_range(digest, 0, SIZE) as reader:
        sizes = [size_of(segment) for segment in reader]
    steps = -(-8 * size // STEP_SIZE)
    assert sizes == [STEP_SIZE] * steps + [SIZE - steps * STEP_SIZE]


def test_whole_blobs_and_small_devices_are_left_to_the_kernel(
    store: Store, device: Callable[[int], None], asked: list[int]
) -> None:
    for kind, body in BODIES.items():
        digest = push(store.blobs, body)
        device(8 << 20)
        assert read_all(store.blobs.open_range(digest)) == body, kind
        device(128 * 1024)
        assert read_all(store.blobs.open_range(digest, 0, SIZE)) == body, kind
    assert asked == []


def test_what_is_in_memory_goes_in_large_steps(
    store: Store, monkeypatch: pytest.MonkeyPatch, asked: list[int]
) -> None:
    monkeypatch.setattr(read_ahead, "kernel_size", lambda device: 8 << 20)
    monkeypatch.setattr(read_ahead, "is_cached", lambda *stretch: True)
    for kind, body in BODIES.items():
        digest = push(store.blobs, body)
        assert read_all(store.blobs.open_range(digest, 0, SIZE)) == body, kind
    assert asked == []


def test_a_page_that_was_read_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10_000))
    with path.open("rb") as file:
        file.read()
        # Linux before 6.5 cannot tell; then no bytes count as cached.
        found = is_cached(file.fileno(), 0, 10_000)
        assert not is_cached(file.fileno(), 0, 100_000)
    release = [int(part) for part in os.uname().release.split(".")[:2]]
    assert found or release < [6, 5]


def test_a_descriptor_that_cannot_be_read_ahead() -> None:
    """The next read raises the error."""
    fetch(-1, 0, 10)
    assert not is_cached(-1, 0, 10)


def test_how_far_the_kernel_reads_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "devices/sda"
    (disk / "queue").mkdir(parents=True)
    (disk / "queue/read_ahead_kb").write_text("4096\n")
    (disk / "sda1").mkdir()
    for name in ("blocks", "systems/0:52"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "blocks/8:0").symlink_to(disk)
    (tmp_path / "blocks/8:1").symlink_to(disk / "sda1")
    (tmp_path / "systems/0:52/read_ahead_kb").write_text("128\n")
    lines = (
        "22 1 0:27 / /dev/shm rw shared:2 - tmpfs tmpfs rw",
        "23 1 0:31 / /data rw - btrfs /dev/sdb rw",
    )
    (tmp_path / "mounts").write_text("\n".join(lines))
    monkeypatch.setattr(read_ahead, "_DEVICES", tmp_path / "blocks")
    monkeypatch.setattr(read_ahead, "_FILE_SYSTEMS", tmp_path / "systems")
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "mounts")
    kernel_size.cache_clear()
    wanted = {
        (8, 0): 4 << 20,
        (8, 1): 4 << 20,  # a partition
        (0, 52): 128 * 1024,  # a network file system
        (0, 27): 0,  # in memory
        (0, 30): 4 << 20,  # one that does not state its read-ahead
    }
    for device, size in wanted.items():
        assert kernel_size(os.makedev(*device)) == size, device
    kernel_size.cache_clear()


def test_steps_stop_where_the_extent_ends(device: Callable[[int], None], tmp_path: Path) -> None:
    device(8 << 20)
    path = tmp_path / "file"
    path.write_bytes(bytes(STEP_SIZE + 10))
    with path.open("rb") as file:
        steps = list(ReadAhead().steps(Extent(file.fileno(), 5, STEP_SIZE + 1)))
    assert [(step.offset, step.length) for step in steps] == [
        (5, STEP_SIZE),
        (5 + STEP_SIZE, 1),
    ]
