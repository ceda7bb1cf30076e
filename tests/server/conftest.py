"""Servers in processes of their own, and helpers that ask them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from dtrfast.config import Config, LogConfig, ServerConfig, StoreConfig

_DEADLINE_SECONDS = 20.0


def eventually(condition: Callable[[], bool], seconds: float = _DEADLINE_SECONDS) -> None:
    """Wait until `condition` returns True; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this did not happen in time"
        threading.Event().wait(0.01)


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    return received


@dataclass
class Server:
    """A supervisor and its children."""

    process: subprocess.Popen[str]
    address: tuple[str, int]
    data: Path

    def get(self, path: str) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection(*self.address, timeout=20)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=_DEADLINE_SECONDS)

    def errors(self) -> str:
        """Return the standard error of a stopped server."""
        return self.process.communicate(timeout=20)[1]

    def workers(self) -> list[psutil.Process]:
        return self._children("dtrfast.server.worker")

    def housekeepers(self) -> list[psutil.Process]:
        return self._children("dtrfast.jobs")

    def notes(self) -> list[str]:
        path = self.data.with_name("notes")
        return path.read_text().splitlines() if path.exists() else []

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(_DEADLINE_SECONDS)

    def _children(self, module: str) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if module in _arguments(child)]


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


StartServer = Callable[..., Server]


def start_stub(config: Config, app: str = "serving") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.server.stub",
            config.encode().decode(),
            f"tests.server.stub:{app}",
        ],
        # Workers import no modules from the folder in which the server was started.
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_address(process: subprocess.Popen[str]) -> tuple[str, int]:
    assert process.stdout is not None
    parts = urlsplit(json.loads(process.stdout.readline()))
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """A function that starts a server with fields of `ServerConfig`; the test's end kills it."""
    started: list[Server] = []

    def start(**fields: object) -> Server:
        started.append(_start(tmp_path / "data", {"workers": 2, **fields}))
        return started[-1]

    yield start
    for server in started:
        _end(server)


@contextmanager
def running(data: Path, **fields: object) -> Iterator[Server]:
    """A server with the given fields of `ServerConfig`; the end of the block kills it."""
    server = _start(data, {"workers": 1, **fields})
    try:
        yield server
    finally:
        _end(server)


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one worker, for the tests of a file that neither stop nor configure it."""
    with running(tmp_path_factory.mktemp("plain") / "data") as server:
        yield server


def _start(data: Path, fields: dict[str, object]) -> Server:
    config = Config(
        server=ServerConfig(**{"bind": "127.0.0.1:0", **fields}),  # type: ignore[arg-type]
        store=StoreConfig(data=data),
        log=LogConfig(level="warning"),
    )
    process = start_stub(config)
    server = Server(process, read_address(process), data)
    try:
        eventually(lambda: len(server.workers()) == fields["workers"])
    except AssertionError:
        _end(server)
        raise
    return server


def _end(server: Server) -> None:
    family = [*server.workers(), *server.housekeepers()] if server.process.poll() is None else []
    server.process.kill()
    for child in family:
        child.kill()
    server.process.communicate()
