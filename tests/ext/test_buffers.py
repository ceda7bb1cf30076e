"""Comparison, and rules for all functions with buffers: no leak, no race."""

import gc
import sys
import threading
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtrfast import _core
from tests.ext import twins


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_equal_agrees_with_the_definition(a: bytes, b: bytes) -> None:
    assert _core.equal(a, b) is twins.equal(a, b)
    assert _core.equal(a, bytearray(a)) is True


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 100_000])
def test_one_changed_byte_is_seen(size: int) -> None:
    data = bytes(size)
    assert _core.equal(data, memoryview(bytearray(data)))
    assert not _core.equal(data, data + b"\x00")
    for position in {0, size // 2, size - 1} if size else ():
        changed = bytearray(data)
        changed[position] ^= 0x80
        assert not _core.equal(data, changed)


def test_equal_refuses_what_is_not_a_buffer() -> None:
    with pytest.raises(TypeError):
        _core.equal(b"", "")  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        _core.equal(b"", memoryview(bytes(4))[::2])


def use_everything() -> None:
    data = bytearray(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    big = bytes(70_000)
    for kind in (_core.Sha256, _core.Sha512):
        digest = kind()
        digest.update(data)
        digest.update(big)
        digest.copy().hexdigest()
        kind.restore(digest.save()).digest()
    _core.Chunker(64, 128, 256).cut(big, True)
    _core.equal(data, big)
    head = _core.parse_head(data)
    assert head is not None
    _ = head.method, head.target, head.headers, head.content_length
    _core.ChunkedDecoder().decode(b"3\r\nabc\r\n0\r\n\r\n", bytearray(8))


def fail_everything() -> None:
    for call in (
        lambda: _core.parse_head(bytearray(b"GET / HTTP/1.1\n")),
        lambda: _core.Sha256.restore(b"bad"),
        lambda: _core.Chunker().cut(bytearray(10), scanned=11),
        lambda: _core.ChunkedDecoder().decode(bytearray(b"x"), bytearray(8)),
        lambda: _core.ChunkedDecoder().decode(bytearray(b"0"), b"not writable"),
        lambda: _core.equal(bytearray(2), None),  # type: ignore[arg-type]
    ):
        with pytest.raises((ValueError, TypeError, BufferError)):
            call()


@pytest.mark.parametrize("work", [use_everything, fail_everything])
def test_nothing_leaks(work: Callable[[], None]) -> None:
    for _ in range(20):
        work()
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0], sys.getrefcount(None)
        for _ in range(50):
            work()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0], sys.getrefcount(None)
    finally:
        tracemalloc.stop()
    # One leaked bytes object a round would be at least 50 times 33 bytes.
    assert after[0] - before[0] < 1500
    assert abs(after[1] - before[1]) < 50


def test_a_buffer_is_given_back() -> None:
    data = bytearray(100_000)
    _core.Sha256().update(data)
    _core.Chunker().cut(data)
    _core.equal(data, data)
    _core.parse_head(b"\r")
    with pytest.raises(ValueError, match="malformed"):
        _core.parse_head(data)
    with pytest.raises(ValueError, match="malformed"):
        _core.ChunkedDecoder().decode(data, data)
    data.append(1)


def test_use_by_two_threads_at_once_is_an_error() -> None:
    """Two threads hash into one object until one gets RuntimeError. No other error may happen."""
    digest, data, stop = _core.Sha256(), bytes(1 << 20), threading.Event()
    errors: list[str] = []

    def hash_on() -> None:
        while not stop.is_set():
            try:
                digest.update(data)
            except RuntimeError as error:
                errors.append(str(error))
                stop.set()

    thread = threading.Thread(target=hash_on)
    thread.start()
    hash_on()
    thread.join()
    assert errors[0] == "used by two threads at once"
    assert digest.size % len(data) == 0
