"""Clients that ask for much and read nothing take a bounded buffer, which is freed afterwards."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

import psutil
import pytest

from tests.e2e.http_client import connect, digest_of, push
from tests.e2e.programs import wait_until
from tests.e2e.registry import Registry

CLIENTS = 100
MEBIBYTE = 1 << 20


def stall(registry: Registry, path: str) -> socket.socket:
    """Ask for `path`, and read nothing of the answer."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", registry.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    return connection


def anonymous_bytes(workers: list[psutil.Process]) -> int:
    """Return the resident anonymous memory of all workers."""
    memory = [worker.memory_full_info() for worker in workers]
    return sum(m.rss - m.shared for m in memory)


def transfers(registry: Registry, workers: list[psutil.Process]) -> int:
    """Return the number of the workers' open connections."""
    return sum(
        connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == registry.port
        for worker in workers
        for connection in worker.net_connections("tcp4")
    )


@pytest.mark.slow
@pytest.mark.alone
def test_a_hundred_stalled_pulls_are_bounded_and_leave_nothing(own_registry: Registry) -> None:
    body = random.Random(4).randbytes(16 * MEBIBYTE)
    with connect(own_registry) as client:
        push(client, "a/b", body, digest_of(body))
    workers = own_registry.workers()
    before = anonymous_bytes(workers)
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(stall(own_registry, f"/v2/a/b/blobs/{digest_of(body)}"))
        wait_until(
            lambda: transfers(own_registry, workers) == CLIENTS, own_registry.process, "transfers"
        )
        with connect(own_registry) as client:
            assert client.get("/v2/").status_code == 200
        assert anonymous_bytes(workers) - before < CLIENTS * 3 * MEBIBYTE
    wait_until(lambda: transfers(own_registry, workers) == 0, own_registry.process, "the end")
    wait_until(
        lambda: anonymous_bytes(workers) - before < 40 * MEBIBYTE,
        own_registry.process,
        "memory given back",
    )
