"""Clients that ask for the rest of a blob and hang up early, as containerd does after 8 MiB.

The figures are of the server's side. The client's own buffer is kept small.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
import pytest

from dtrfast.store.read_ahead import kernel_size
from tests.door.conftest import DoorServer, serving
from tests.door.corpus.case import SMUGGLED
from tests.door.differ.content import digest_of
from tests.door.tls import TlsSocket
from tests.door.wire import TIMEOUT_SECONDS, request

pytestmark = pytest.mark.slow

MIB = 1 << 20
SIZE = 13 * MIB
START = MIB
TAKEN = 8 * MIB
UNSENT_SIZE_MAX = 512 * 1024
READ_FACTOR_MAX = 1.25
CLIENT_BUFFER_SIZE = 64 * 1024
# The pause between two looks. A value that is the same five times has settled.
PAUSE_SECONDS = 0.03
LOOKS = 5
KINDS = ("loose", "raw chunks", "compressed chunks")


_pause = threading.Event()


@cache
def content_of(kind: str) -> bytes:
    source = random.Random(kind)
    if kind == "compressed chunks":
        return source.randbytes(SIZE // 2).hex().encode()
    return (b"\x1f\x8b" if kind == "loose" else b"raw\n") + source.randbytes(SIZE)


@dataclass(frozen=True, slots=True)
class Stock:
    """A server with a blob, and the bytes on its disk for each byte of the blob."""

    server: DoorServer
    worker: psutil.Process
    path: str
    stored_ratio: float

    def connect(self) -> tuple[socket.socket, Callable[[int], bytes]]:
        """Request the blob from START on; returns the connection and its function for reading."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CLIENT_BUFFER_SIZE)
        plain.settimeout(TIMEOUT_SECONDS)
        plain.connect(self.server.address)
        tls = self.server.tls
        used = plain if tls is None else TlsSocket(plain, tls)
        used.sendall(request("GET", self.path, f"Range: bytes={START}-"))
        return plain, used.recv

    def unsent_size(self, client: socket.socket) -> int:
        """Return the bytes in the server's socket, once their number has settled."""
        ours, theirs = (f":{s[1]:04X}" for s in (self.server.address, client.getsockname()))

        def look() -> int:
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
                _, local, remote, _, queues, *_ = line.split()
                if local.endswith(ours) and remote.endswith(theirs):
                    return int(queues.partition(":")[0], 16)
            raise AssertionError("the connection is gone")

        return at_rest(look)

    def read_size(self) -> int:
        """Return the bytes that the worker has read from a disk, once their number has settled."""
        return at_rest(lambda: self.worker.io_counters().read_bytes)

    def drop_from_cache(self) -> None:
        for path in self.server.process.data.rglob("*"):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                os.fsync(descriptor)  # only clean pages can be dropped
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)


def at_rest(look: Callable[[], int]) -> int:
    """Return the value of `look` once it has settled."""
    seen = [look()]
    while len(seen) < LOOKS or len(set(seen[-LOOKS:])) > 1:
        _pause.wait(PAUSE_SECONDS)
        seen.append(look())
    return seen[-1]


@pytest.fixture(scope="module", params=["lanes", "lanes, TLS", "no lanes", "no lanes, TLS"])
def stocks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Stock]]:
    """A server with a blob of each kind."""
    lanes, tls = not request.param.startswith("no"), request.param.endswith("TLS")
    with serving(tmp_path_factory.mktemp("door"), lanes=lanes, tls=tls) as running:
        yield {kind: push(running, content_of(kind)) for kind in KINDS}


def push(server: DoorServer, body: bytes) -> Stock:
    before = size_of(server.process.data)
    digest = digest_of(body)
    sent = request("POST", f"/v2/{SMUGGLED}/blobs/uploads/?digest={digest}", body=body)
    assert server.ask(sent, "POST").status == 201
    (worker,) = server.process.workers()
    ratio = (size_of(server.process.data) - before) / len(body)
    return Stock(server, worker, f"/v2/{SMUGGLED}/blobs/{digest}", min(ratio, 1.0))


def size_of(data: Path) -> int:
    """Return the bytes of packs and loose files."""
    return sum(p.stat().st_size for p in data.rglob("*") if p.is_file() and p.suffix != ".mdb")


def take(receive: Callable[[int], bytes], size: int) -> None:
    """Read an answer's head, and `size` bytes in all."""
    head = receive(4096)
    assert head.startswith(b"HTTP/1.1 206 ")
    size -= len(head)
    while size > 0:
        size -= len(receive(min(size, 32 * 1024)))


def test_little_is_unsent(stocks: dict[str, Stock]) -> None:
    for kind, stock in stocks.items():
        for taken in (0, TAKEN):
            client, receive = stock.connect()
            with closing(client):
                if taken:
                    take(receive, taken)
                unsent = stock.unsent_size(client)
            assert 0 < unsent <= UNSENT_SIZE_MAX, (kind, taken)


def test_the_disk_is_read_for_what_is_taken(
    stocks: dict[str, Stock],
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    """For compressed content the size on the disk counts."""
    found = []
    for kind, stock in stocks.items():
        if kernel_size(stock.server.process.data.stat().st_dev) == 0:
            pytest.skip("there is no disk below: pass --basetemp with a folder on one")
        stock.drop_from_cache()
        before = stock.read_size()
        client, receive = stock.connect()
        with closing(client):
            take(receive, TAKEN)
        factor = (stock.read_size() - before) / (TAKEN * stock.stored_ratio)
        found.append(f"{kind} {factor:.2f}")
        assert factor <= READ_FACTOR_MAX, kind
    record_property("summary", f"{request.node.name}: read from disk to used: {', '.join(found)}")
