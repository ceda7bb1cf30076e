from __future__ import annotations

import json
import socket
import ssl
import struct
import threading

import psutil
import pytest

from tests.server.conftest import Server, StartServer, eventually, read_to_end

pytestmark = pytest.mark.slow


def assert_refused(received: bytes, status: int) -> None:
    """Assert that `received` is a complete error of the protocol. The server closed after it."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/json" in head.lower()
    assert json.loads(body)["errors"][0]["code"] == "UNSUPPORTED"


def test_a_head_of_a_mebibyte_is_answered_431(plain_server: Server) -> None:
    with plain_server.connect() as connection:
        connection.sendall(b"GET /pid HTTP/1.1\r\nhost: x\r\nx: " + b"a" * (1 << 20) + b"\r\n\r\n")
        assert_refused(read_to_end(connection), 431)


def test_a_head_below_the_limit_is_read(plain_server: Server) -> None:
    with plain_server.connect() as connection:
        connection.sendall(b"GET /pid HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 120_000 + b"\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_tls_hello_is_answered_400_and_closed_at_once(plain_server: Server) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="x")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with plain_server.connect() as connection:
        connection.sendall(outgoing.read())
        assert_refused(read_to_end(connection), 400)


def test_a_body_of_doubtful_length_is_refused(plain_server: Server) -> None:
    for head in (
        b"content-length: 3\r\ntransfer-encoding: chunked",
        b"transfer-encoding: chunked\r\ncontent-length: 3",
        b"content-length: 3\r\ncontent-length: 4",
        b"content-length: -1",
        b"transfer-encoding: gzip",
    ):
        with plain_server.connect() as connection:
            connection.sendall(
                b"PUT /unread HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            )
            assert_refused(read_to_end(connection), 400)


def test_a_response_before_the_end_of_the_body_arrives(plain_server: Server) -> None:
    """The client sends more than all buffers hold, and reads only afterwards."""
    size = 1 << 25
    with plain_server.connect() as connection:
        head = b"PUT /unread HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % size + bytes(size))
        received = read_to_end(connection)
    assert received.startswith(b"HTTP/1.1 403 ")
    assert received.endswith(b"no")
    eventually(lambda: "over /unread" in plain_server.notes())


def test_the_server_does_not_name_its_software(plain_server: Server) -> None:
    with plain_server.connect() as connection:
        connection.sendall(b"GET /pid HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        received = read_to_end(connection).lower()
    assert b"hypercorn" not in received
    assert b"\r\nserver:" not in received


def test_an_idle_connection_is_closed_after_its_time(start_server: StartServer) -> None:
    server = start_server(workers=1, keep_alive_seconds=0.2)
    with server.connect() as connection:
        connection.sendall(b"GET /pid HTTP/1.1\r\nhost: x\r\n\r\n")
        assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_stands_still_is_cut(start_server: StartServer) -> None:
    server = start_server(workers=1, idle_body_seconds=0.3)
    with server.connect() as connection:
        connection.sendall(b"PUT /count HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nx")
        assert read_to_end(connection) == b""
        eventually(lambda: "disconnected" in server.notes())


def test_a_slow_body_that_moves_is_not_cut(start_server: StartServer) -> None:
    server = start_server(workers=1, idle_body_seconds=0.3)
    with server.connect() as connection:
        head = b"PUT /count HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\n"
        connection.sendall(head)
        for _ in range(10):
            threading.Event().wait(0.1)  # below the limit of 0.3 s
            connection.sendall(b"x")
        assert read_to_end(connection).endswith(b"10")


def test_time_that_the_server_takes_is_not_idle(start_server: StartServer) -> None:
    server = start_server(workers=1, idle_body_seconds=0.1)
    assert server.get("/slow") == (200, b"done")


def test_a_download_that_nobody_reads_is_cut(start_server: StartServer) -> None:
    server = start_server(workers=1, idle_body_seconds=0.3)
    with server.connect() as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        eventually(lambda: "over /large" in server.notes())


def test_a_connection_that_its_client_closed_is_let_go_at_once(start_server: StartServer) -> None:
    server = start_server(workers=1, keep_alive_seconds=1000)
    (worker,) = server.workers()
    server.get("/pid")
    eventually(lambda: not established(worker))
    with server.connect() as connection:
        connection.sendall(b"GET /pid HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert len(established(worker)) == 1
    eventually(lambda: not established(worker))


def established(worker: psutil.Process) -> list[object]:
    return [one for one in worker.net_connections() if one.status != psutil.CONN_LISTEN]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /pid HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade, close\r\n\r\n",
        b"GET /pid HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ],
)
def test_a_plain_port_speaks_http_1_only(plain_server: Server, request_bytes: bytes) -> None:
    with plain_server.connect() as connection:
        connection.sendall(request_bytes)
        assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")


def test_the_preface_of_http_2_is_an_error(plain_server: Server) -> None:
    with plain_server.connect() as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert read_to_end(connection).startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))


def test_a_client_that_leaves_is_no_error(start_server: StartServer) -> None:
    server = start_server(workers=1, keep_alive_seconds=1000)
    (worker,) = server.workers()
    eventually(lambda: server.get("/pid")[0] == 200)
    for sent in (
        b"PUT /count HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\nx",
        b"PUT /count HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n9\r\nx",
        b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /pid HTTP/1.1\r\n",
        b"\0garbage",
    ):
        for resets in (False, True):
            with server.connect() as connection:
                connection.sendall(sent)
                if resets:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            eventually(lambda: not established(worker))
    status = server.stop()
    assert server.errors() == ""
    assert status == 0
