"""An upload survives the end of the server that received its bytes. This runs the real registry."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.server.conftest import eventually

pytestmark = pytest.mark.slow

BODY = os.urandom(1 << 20)


class Registry:
    def __init__(self, data: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dtrfast", "serve", "--workers", "1", "--bind", "127.0.0.1:0"],
            env={
                **os.environ,
                "DTRFAST_STORE_DATA": str(data),
                "DTRFAST_SERVER_GRACEFUL_STOP_SECONDS": "0.2",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        self.host = urlsplit(line.split("listening on ")[1].split(",")[0]).netloc

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, timeout=20)

    def request(self, method: str, path: str, body: bytes = b"") -> http.client.HTTPResponse:
        with closing(self.connect()) as connection:
            connection.request(method, path, body)
            response = connection.getresponse()
            response.read()
            return response

    def received(self, upload: str) -> int:
        answer = self.request("GET", upload).headers["Range"]
        return int(answer.removeprefix("0-")) + 1

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def path_of(location: str) -> str:
    return urlsplit(location).path


def begin_patch(registry: Registry, upload: str) -> http.client.HTTPConnection:
    """Send half of the body, and leave the request unfinished."""
    connection = registry.connect()
    connection.putrequest("PATCH", upload)
    connection.putheader("Content-Length", str(len(BODY)))
    connection.putheader("Content-Type", "application/octet-stream")
    connection.endheaders(BODY[: len(BODY) // 2])
    return connection


def test_a_cut_upload_is_resumed_after_a_restart(tmp_path: Path) -> None:
    with closing(Registry(tmp_path)) as first:
        upload = path_of(first.request("POST", "/v2/a/blobs/uploads/").headers["Location"])
        with closing(begin_patch(first, upload)):
            # The worker saves the upload when the socket is empty.
            eventually(lambda: first.received(upload) == len(BODY) // 2)
            first.process.send_signal(signal.SIGTERM)
            assert first.process.wait(20) == 0

    with closing(Registry(tmp_path)) as second:
        offset = second.received(upload)
        assert offset == len(BODY) // 2
        digest = f"sha256:{sha256(BODY).hexdigest()}"
        response = second.request("PUT", f"{upload}?digest={digest}", BODY[offset:])
        assert response.status == 201
        assert second.request("HEAD", f"/v2/a/blobs/{digest}").status == 200
