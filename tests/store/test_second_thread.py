"""Work of the second thread, or of the transfer itself: the results are the same."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dtrfast import _core
from dtrfast.machine import disk
from dtrfast.store import codec, packs
from dtrfast.store.hashing import UploadHasher
from dtrfast.store.second_thread import SecondThread
from dtrfast.store.store import Store
from tests.store.conftest import files_below, pull, push


@pytest.fixture
def thread() -> Iterator[SecondThread]:
    thread = SecondThread()
    thread._cores = 2
    yield thread
    thread.close()


def begin(thread: SecondThread, *, sha512: bool = False) -> UploadHasher:
    return UploadHasher(thread, _core.Sha256().save(), _core.Sha512().save() if sha512 else None)


def is_started(thread: SecondThread) -> bool:
    return thread._thread is not None


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("transfers", [1, 2])
def test_digests_are_right(thread: SecondThread, cores: int, transfers: int) -> None:
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


def test_bytes_may_change_once_they_are_settled(thread: SecondThread) -> None:
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


def test_jobs_are_done_in_order(thread: SecondThread) -> None:
    done: list[int] = []
    jobs = [thread.begin(partial(done.append, number)) for number in range(100)]
    for job in reversed(jobs):
        job.wait()
    assert done == list(range(100))


def test_what_a_job_returns_and_raises_reaches_the_transfer(thread: SecondThread) -> None:
    def fail() -> int:
        raise OverflowError("too much")

    failing, working = thread.begin(fail), thread.begin(lambda: 5)
    assert working.wait() == 5
    with pytest.raises(OverflowError):
        failing.wait()


@pytest.mark.parametrize("cores", [1, 2])
def test_what_is_compressed_does_not_depend_on_the_threads(
    store: Store, data: Path, cores: int
) -> None:
    """Text, noise and text again: the choice to compress does not depend on the thread."""
    noise = random.Random(1).randbytes(3_000_000)
    body = b"".join(b"line %d of a text\n" % n for n in range(200_000)) + noise + bytes(3_000_000)
    store._context.second_thread._cores = cores
    assert pull(store.blobs, push(store.blobs, body)) == body
    (name,) = files_below(data, "packs")
    path = next((data / "packs").rglob(name))
    descriptor = disk.open_existing(path)
    codecs = [entry.codec for entry in packs.entries(descriptor, path.stat().st_size)]
    os.close(descriptor)
    text = codecs.index(codec.RAW)
    assert text > 10
    assert codecs[text:].count(codec.ZSTD) <= 3  # the seam between noise and zeros, and the zeros


def test_a_thread_starts_when_it_is_needed_and_ends(thread: SecondThread) -> None:
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
