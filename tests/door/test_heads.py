"""Heads that do not end: each has a time limit, and all of them share a memory limit."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from h2.frame_buffer import FrameBuffer
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame

from dtrfast.server.door.heads import HEAD_SECONDS, SMALL_SIZE, HeadMemory
from dtrfast.server.door.http2 import unfinished_size
from tests.door.conftest import DoorServer, serving
from tests.door.differ.content import digest_of
from tests.door.test_slow import anonymous_bytes
from tests.door.wire import request

BEGIN = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-A: "
LARGE = BEGIN + b"a" * 120_000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


class Connection:
    """A connection that counts how often it is dropped."""

    def __init__(self) -> None:
        self.drops = 0

    def drop_head(self) -> None:
        self.drops += 1


def test_the_head_that_has_been_large_for_longest_is_dropped() -> None:
    memory = HeadMemory(100_000)
    small, *large = (Connection() for _ in range(4))
    memory.hold(small, SMALL_SIZE)
    for one in large:
        memory.hold(one, 40_000)
    assert [one.drops for one in (small, *large)] == [0, 1, 0, 0]
    memory.hold(large[1], 50_000)
    assert memory.size == 90_000
    memory.release(large[1])
    memory.hold(large[2], 0)
    memory.release(small)
    assert memory.size == 0


def test_bodies_of_http_2_are_no_heads() -> None:
    frames = FrameBuffer(server=True)
    frames.max_frame_size = 1 << 18

    def feed(*parts: bytes) -> int:
        frames.add_data(b"".join(parts))
        list(frames)
        return unfinished_size(frames)

    assert feed(PREFACE, HeadersFrame(1, b"a" * 100).serialize()) == 100
    assert feed(ContinuationFrame(1, b"a" * 50).serialize()[:30]) == 130
    end = ContinuationFrame(1, b"a" * 50).serialize()[30:]
    assert feed(end, ContinuationFrame(1, b"", flags=["END_HEADERS"]).serialize()) == 0
    assert feed(DataFrame(1, b"a" * 1000).serialize()[:500]) == 0
    assert feed(DataFrame(1, b"a" * 1000).serialize()[500:], b"\xff\xff\xff\0\0") == 5


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorServer]:
    with serving(tmp_path_factory.mktemp("plain"), lanes=True) as running:
        yield running


@pytest.fixture(scope="module")
def slow_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorServer]:
    with serving(tmp_path_factory.mktemp("slow"), lanes=False) as running:
        yield running


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorServer]:
    folder = tmp_path_factory.mktemp("tls")
    with serving(folder, lanes=True, tls=True, SERVER_HTTP2="true") as running:
        yield running


def connect(server: DoorServer, data: bytes = b"", alpn: str = "") -> socket.socket:
    connection = socket.create_connection(server.address, timeout=5)
    if alpn:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([alpn])
        connection = context.wrap_socket(connection)
    connection.sendall(data)
    return connection


def is_over(connection: socket.socket) -> bool:
    """Return True if the server has closed it, with an answer or without."""
    connection.settimeout(0)
    try:
        while connection.recv(65_536):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    return True


def drip(connections: dict[str, socket.socket], seconds: float) -> None:
    """Send each connection a byte per second, as long as it accepts one."""
    for _ in range(int(seconds)):
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.sendall(b"a")
        select.select([], [], [], 1)


@pytest.mark.slow
def test_a_head_has_its_time_however_slowly_it_comes(
    plain: DoorServer, slow_path: DoorServer, secure: DoorServer
) -> None:
    headers = HeadersFrame(1, b"\0\1a").serialize()
    begun = {
        "small": connect(plain, BEGIN),
        "large": connect(plain, LARGE),
        "without lanes": connect(slow_path, BEGIN),
        "behind a whole one": connect(plain, request("GET", "/healthz") + BEGIN),
        "behind one of the application": connect(plain, request("GET", "/v2/") + BEGIN),
        "blank lines": connect(plain, b"\r\n"),
        "TLS": connect(secure, BEGIN, "http/1.1"),
        "TLS, large": connect(secure, LARGE, "http/1.1"),
        "TLS, a part of a record": connect(secure, b"", "http/1.1"),
        "TLS, a part of a hello": connect(secure, b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc"),
        "HTTP/2": connect(secure, PREFACE + headers, "h2"),
        "HTTP/2, a part of a frame": connect(secure, PREFACE + headers[:9], "h2"),
    }
    os.write(begun["TLS, a part of a record"].fileno(), b"\x17\x03\x03\x40\x00" + bytes(9))
    with ExitStack() as stack:
        for one in begun.values():
            stack.enter_context(one)
        told = stack.enter_context(connect(plain, BEGIN))
        honest = stack.enter_context(connect(plain))
        drip({name: begun[name] for name in ("small", "TLS")}, HEAD_SECONDS + 2)
        assert [name for name, one in begun.items() if not is_over(one)] == []
        assert told.recv(1000).startswith(b"HTTP/1.1 408 ")
        honest.sendall(request("GET", "/healthz"))
        assert honest.recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.slow
def test_large_heads_share_their_memory(plain: DoorServer) -> None:
    workers = plain.process.workers()
    before = anonymous_bytes(workers)
    with ExitStack() as stack:
        held = [stack.enter_context(connect(plain, LARGE)) for _ in range(500)]
        honest = stack.enter_context(connect(plain, BEGIN + b"b" * 60_000))
        honest.sendall(b"\r\n\r\n")
        assert honest.recv(1000).startswith(b"HTTP/1.1 ")
        assert anonymous_bytes(workers) - before < 48 << 20
        assert is_over(held[0])
        assert not is_over(held[-1])


@pytest.mark.slow
def test_pipelined_bytes_share_that_memory(plain: DoorServer) -> None:
    """They wait behind an answer that the client does not read, for any length of time."""
    upload = plain.begin_upload()
    digest = digest_of(bytes(16 << 20))
    body = bytes(16 << 20)
    sent = request("PUT", f"{upload}?digest={digest}", body=body)
    assert plain.ask(sent, "PUT").status == 201
    path = f"{upload.partition('/uploads/')[0]}/{digest}"
    sent = request("GET", path) + b"GET / HTTP/1.1\r\nHost: " + b"x" * 100_000
    workers = plain.process.workers()
    before = anonymous_bytes(workers)
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(connect(plain, sent))
        assert anonymous_bytes(workers) - before < 64 << 20


@pytest.mark.slow
def test_a_tls_hello_of_unusual_size_is_refused(secure: DoorServer) -> None:
    hello = b"\x16\x03\x01\x01\x00\x01\x01\xff\xff" + bytes(251)
    tiny = b"\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00"
    for begin in (hello, tiny):
        with connect(secure, begin) as connection, contextlib.suppress(ConnectionResetError):
            assert connection.recv(1000) == b""


@pytest.mark.slow
def test_a_flood_of_continuation_frames_ends(secure: DoorServer) -> None:
    flood = PREFACE + HeadersFrame(1, b"\0" * 16_000).serialize()
    flood += ContinuationFrame(1, b"\0" * 16_000).serialize() * 10
    with connect(secure, alpn="h2") as connection:
        with contextlib.suppress(OSError):
            connection.sendall(flood)
        deadline = time.monotonic() + 5
        while not is_over(connection):
            assert time.monotonic() < deadline
            select.select([connection], [], [], 0.1)
