"""Open packs of a process: few at a time, each once, and as long as a reader needs them."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dtrfast.errors import Corrupt
from dtrfast.index.tables import PACKS, number_of
from dtrfast.store import chunk_files
from dtrfast.store.store import Store
from tests.store.conftest import pull, push


def bodies(count: int) -> list[bytes]:
    """Return bodies, each of which becomes a pack of its own."""
    return [random.Random(seed).randbytes(100_000) for seed in range(count)]


def packs_open(data: Path) -> int:
    """Return the descriptors of this process that are packs of the data directory."""
    names = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    targets = [os.readlink(name) for name in names if os.path.islink(name)]
    return sum(target.startswith(f"{data}/packs/") for target in targets)


def pack_numbers(store: Store) -> list[int]:
    with store.engine.read() as transaction:
        return [number_of(key) for key, _ in transaction.scan(PACKS)]


def test_a_process_keeps_some_packs_open_and_closes_the_oldest(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_files, "_OPEN_MAX", 2)
    before = packs_open(data)
    digests = [push(store.blobs, body) for body in bodies(4)]
    for digest, body in zip(digests * 2, bodies(4) * 2, strict=True):
        assert pull(store.blobs, digest) == body
    assert packs_open(data) - before == 2


def test_a_pack_in_use_outlives_its_place_among_the_open_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_files, "_OPEN_MAX", 1)
    digests = [push(store.blobs, body) for body in bodies(2)]
    files = store._context.chunk_files
    with files.lent(pack_numbers(store)[0]) as descriptor:
        assert pull(store.blobs, digests[1]) == bodies(2)[1]
        assert os.pread(descriptor, 4, 0), "it is still open"


def test_threads_that_open_a_pack_at_once_share_it(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(store.blobs, bodies(1)[0])
    (number,) = pack_numbers(store)
    files, both = store._context.chunk_files, threading.Barrier(2)
    before, open_pack = packs_open(data), files._open

    def meet(number: int) -> int | None:
        descriptor = open_pack(number)
        both.wait(10)
        return descriptor

    monkeypatch.setattr(files, "_open", meet)
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(files.acquire, [number, number])
    assert one is two
    assert packs_open(data) - before == 1
    assert one is not None
    for _ in range(2):
        files.release(one)


def test_a_pack_that_the_index_does_not_have_is_corrupt(store: Store) -> None:
    with (
        pytest.raises(Corrupt, match="pack 77 is not on the disk: restore it"),
        store._context.chunk_files.lent(77),
    ):
        pass
