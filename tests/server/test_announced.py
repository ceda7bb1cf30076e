"""A server that accepts only connections with PROXY headers."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.server.conftest import Server, StartServer, read_to_end, running
from tests.server.test_proxy_header import REFUSED, TAKEN

VERSION_1, VERSION_2 = next(iter(TAKEN)), list(TAKEN)[6]
_PID = b"GET /pid HTTP/1.1\r\nhost: x\r\n\r\n"
_LAST = b"GET /pid HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("announced") / "data"
    with running(data, proxy_protocol="required") as started:
        yield started


def answers(server: Server, *pieces: bytes) -> bytes:
    """Send the pieces and return all received bytes; empty if the server closes."""
    with server.connect() as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.001)
            return read_to_end(connection)
        except (ConnectionResetError, BrokenPipeError):
            return b""


def test_requests_behind_a_header_are_answered(server: Server) -> None:
    for header in TAKEN:
        assert answers(server, header + _PID + _LAST).count(b"HTTP/1.1 200 ") == 2, header
    for header in (VERSION_1, VERSION_2):
        pieces = [bytes([octet]) for octet in header]
        assert b"HTTP/1.1 200 " in answers(server, *pieces, _LAST), header


def test_all_others_are_closed_without_a_word(server: Server) -> None:
    for data in (*REFUSED, _LAST, b""):
        assert answers(server, data + _LAST) == b"", data
    assert b"HTTP/1.1 200 " in answers(server, VERSION_1 + _LAST)


def test_a_second_header_is_no_request(server: Server) -> None:
    for header in (VERSION_1, VERSION_2):
        assert answers(server, header + header + _LAST).startswith(b"HTTP/1.1 400 "), header


def test_a_stop_does_not_wait_for_a_header(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(proxy_protocol="required", workers=1)
    assert answers(server, VERSION_1 + _LAST)
    with server.connect() as silent:
        silent.sendall(b"PROXY ")
        time.sleep(0.1)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 4.0


def test_connections_that_were_reset_before_they_were_accepted_are_no_reason_for_a_hint(
    start_server: StartServer,
) -> None:
    """Such connections have no address. Health checks of proxies reset them like this."""
    trusts = {"trusted_proxies": ("127.0.0.1",)}
    server = start_server(proxy_protocol="required", workers=1, **trusts)
    (worker,) = server.workers()
    worker.suspend()
    for number in range(8):
        with server.connect() as connection:
            connection.sendall(_LAST[: number % 2 * len(_LAST)])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    worker.resume()
    stranger = socket.create_connection(server.address, 20, source_address=("127.0.0.2", 0))
    with stranger, suppress(ConnectionResetError):
        assert read_to_end(stranger) == b""
    server.stop()
    errors = server.errors()
    assert "an unknown address" not in errors
    assert "closed a connection from 127.0.0.2, which is no trusted proxy" in errors


def test_where_none_is_expected_one_is_refused_and_the_log_says_what_to_set(
    start_server: StartServer,
) -> None:
    server = start_server(workers=1)
    for header in (VERSION_1, VERSION_2):
        assert answers(server, header + _LAST).startswith(b"HTTP/1.1 400 ")
    server.stop()
    assert "set server.proxy_protocol to required" in server.errors()
