"""Connections that are held open."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from benchmarks import load
from tests.benchmarks.load.server import (
    OK,
    Serve,
    read_head,
    response,
)


def test_idle_connections_are_held(serve: Serve) -> None:
    server = serve(lambda asked: OK)
    with load.hold(server.address, kind="idle", count=250, path="/x") as holding:
        assert (holding.opened, holding.errors) == (250, ())
        assert (len(server.asked), server.connections) == (250, 250)
        held = holding.release()
    assert held == load.HoldResult(opened=250, lost=0, bytes_in=500, bytes_out=0)
    assert holding.release() is held


def test_lost_connections_are_told() -> None:
    with contextlib.ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []
        thread = threading.Thread(target=_answer_three, args=(listener, accepted))
        thread.start()
        address = listener.getsockname()
        with load.hold(address, kind="idle", count=3, path="/x") as holding:
            thread.join()
            assert holding.opened == 3
            accepted[0].close()
            accepted[1].sendall(response("408 Request Timeout"))
            stack.callback(accepted[1].close)
            stack.callback(accepted[2].close)
            held = holding.release()
    assert (held.opened, held.lost) == (3, 2)
    assert sorted(held.errors) == [
        "answered while it was held",
        "connection lost while it was held",
    ]


def _answer_three(listener: socket.socket, accepted: list[socket.socket]) -> None:
    for _ in range(3):
        connection, _ = listener.accept()
        with connection.makefile("rb") as requests:
            read_head(requests.readline)
        connection.sendall(OK)
        accepted.append(connection)


def test_connections_that_cannot_be_held_are_told(serve: Serve) -> None:
    server = serve(lambda asked: response("404 Not Found") if asked.connection == 1 else OK)
    with load.hold(server.address, kind="idle", count=3, path="/x") as holding:
        assert holding.opened == 2
        assert holding.errors == ("status 404, or an answer that cannot be held",)


@pytest.mark.slow
def test_a_slow_upload_sends_its_prefix_and_a_byte_a_second() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        received: list[bytes] = []
        thread = threading.Thread(target=_take_upload, args=(listener, received))
        thread.start()
        address = listener.getsockname()
        with load.hold(
            address, kind="slow-upload", count=1, path="/start", prefix_size=5000
        ) as holding:
            assert holding.opened == 1
            thread.join(20)
            held = holding.release()
    assert received == [b"\0" * 5000, b"\0", b"\0"]
    assert held.bytes_out >= 5002


def _take_upload(listener: socket.socket, received: list[bytes]) -> None:
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as requests:
        read_head(requests.readline)
        connection.sendall(response("202 Accepted", b"", "Location: /up"))
        read_head(requests.readline)
        received.append(requests.read(5000))
        received.append(requests.read(1))
        received.append(requests.read(1))


def test_a_stalled_pull_closes_the_window() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[int] = []
        thread = threading.Thread(target=_send_until_stuck, args=(listener, taken))
        thread.start()
        with load.hold(listener.getsockname(), kind="stalled-pull", count=1, path="/x") as holding:
            assert holding.opened == 1
            thread.join()
            held = holding.release()
    assert held.bytes_in < 16_384
    # The bytes that the kernel buffers on both sides with the reader's smallest buffer.
    assert sum(taken) < 65_536


def _send_until_stuck(listener: socket.socket, taken: list[int]) -> None:
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as requests:
        read_head(requests.readline)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
        connection.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while True:
                taken.append(connection.send(bytes(4096)))
