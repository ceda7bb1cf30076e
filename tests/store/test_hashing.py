"""Hashing beside a transfer, and by the transfer itself: the digests are the same."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator

import pytest

from dtrfast import _core
from dtrfast.store.hashing import Hashing, HashThread


@pytest.fixture
def thread() -> Iterator[HashThread]:
    thread = HashThread()
    thread._cores = 2
    yield thread
    thread.close()


def begin(thread: HashThread, *, sha512: bool = False) -> Hashing:
    return Hashing(thread, _core.Sha256().save(), _core.Sha512().save() if sha512 else None)


def is_started(thread: HashThread) -> bool:
    return thread._thread is not None


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("transfers", [1, 2])
def test_digests_are_right(thread: HashThread, cores: int, transfers: int) -> None:
    thread._cores = cores
    thread._transfers = transfers - 1
    generator = random.Random(1)
    content = generator.randbytes(4_000_000)
    hashing = begin(thread, sha512=True)
    with thread.transfer():
        assert thread.is_free == (cores == 2 and transfers == 1)
        offset = 0
        while offset < len(content):
            size = generator.choice([1, 1000, 100_000, 131_072, 500_000])
            hashing.update(memoryview(content)[offset : offset + size])
            offset += size
    hashing.settle()
    assert hashing.sha256.digest() == hashlib.sha256(content).digest()
    assert hashing.sha512 is not None
    assert hashing.sha512.digest() == hashlib.sha512(content).digest()


def test_bytes_may_change_once_they_are_settled(thread: HashThread) -> None:
    buffer = memoryview(bytearray(200_000))
    hashing = begin(thread)
    expected = hashlib.sha256()
    with thread.transfer():
        for n in range(50):
            buffer[:] = bytes([n]) * len(buffer)
            expected.update(buffer)
            hashing.update(buffer)
            hashing.settle()
    assert hashing.sha256.digest() == expected.digest()


def test_what_hashing_raises_reaches_the_transfer(
    thread: HashThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Hashing, data: memoryview) -> None:
        raise OverflowError("too much")

    monkeypatch.setattr(Hashing, "update_now", fail)
    hashing = begin(thread)
    with thread.transfer():
        hashing.update(memoryview(bytes(1 << 20)))
        with pytest.raises(OverflowError):
            hashing.settle()
    hashing.settle()


def test_a_thread_starts_when_it_is_needed_and_ends(thread: HashThread) -> None:
    hashing = begin(thread)
    with thread.transfer():
        hashing.update(memoryview(b"few"))
        assert not is_started(thread)
        hashing.update(memoryview(bytes(1 << 20)))
        hashing.settle()
        started = thread._thread
    assert started is not None
    assert started in threading.enumerate()
    thread.close()
    assert started not in threading.enumerate()
