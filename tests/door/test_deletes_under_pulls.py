"""Content that is deleted during a slow pull: the server never sends a wrong byte."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.door.conftest import DoorServer, serving
from tests.door.differ.content import digest_of
from tests.door.wire import request
from tests.e2e.programs import wait_until

pytestmark = pytest.mark.slow

# More than the buffers of both sockets. A chunked blob of this size has several recipe rows.
SIZE = 32 << 20
REPOSITORY = "pulled/app"
_SEED = 64
# A receive window that is full at once.
_WINDOW_SIZE = 4096


def contents(seed: int) -> dict[str, bytes]:
    """Return a blob of each kind: raw chunks, compressed chunks, and a file, freed last."""
    generator = random.Random(seed)
    line = b"%d " * 8 + b"\n"
    lines = [line % tuple(generator.choices(range(1000), k=8)) for _ in range(SIZE // 24)]
    return {
        "raw": generator.randbytes(SIZE),
        "compressed": b"".join(lines),
        "loose": b"\x1f\x8b\x08" + generator.randbytes(SIZE),
    }


def push_all(server: DoorServer, bodies: dict[str, bytes]) -> None:
    for body in bodies.values():
        target = f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest_of(body)}"
        assert server.ask(request("POST", target, body=body), "POST").status == 201


def stall(server: DoorServer, body: bytes) -> socket.socket:
    """Ask for a blob, and read only the beginning of the answer."""
    connection = socket.socket()
    connection.settimeout(20)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW_SIZE)
    connection.connect(server.address)
    connection.sendall(request("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(body)}"))
    assert connection.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
    return connection


def read_rest(connection: socket.socket, size: int) -> bytes:
    """Return the part of the body that arrives."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(1024)
    pieces = [received.partition(b"\r\n\r\n")[2]]
    try:
        while sum(map(len, pieces)) < size and (piece := connection.recv(1 << 20)):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def loose_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "data" / "blobs").rglob("*") if path.is_file()]


@pytest.mark.parametrize("lanes", [True, False])
def test_a_stalled_pull_gets_no_wrong_byte(tmp_path: Path, lanes: bool) -> None:
    """A file is sent to its end. Chunks end where their recipe does, but never in other bytes."""
    bodies = contents(_SEED)
    with serving(tmp_path, lanes=lanes) as server, ExitStack() as stack:
        push_all(server, bodies)
        pulls = {kind: stack.enter_context(stall(server, b)) for kind, b in bodies.items()}
        for body in bodies.values():
            sent = request("DELETE", f"/v2/{REPOSITORY}/blobs/{digest_of(body)}")
            assert server.ask(sent, "DELETE").status == 202
        wait_until(lambda: not loose_files(tmp_path), server.process.process, "the files freed")
        push_all(server, contents(_SEED + 1))
        for kind, connection in pulls.items():
            received = read_rest(connection, len(bodies[kind]))
            assert bodies[kind].startswith(received), kind
            assert len(received) > SIZE // 8, kind
            assert kind != "loose" or received == bodies[kind]
