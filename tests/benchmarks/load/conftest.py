"""Servers in threads, and content for them."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.load.asking import CONTENT
from tests.benchmarks.load.server import Answer, Serve, Server


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:

        def serve(answer: Answer, context: ssl.SSLContext | None = None) -> Server:
            server = stack.enter_context(Server(answer, context))
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server

        yield serve


@pytest.fixture
def content(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path
