"""A store, and places for its backups."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtrfast.backup.place import BackupPlace
from tests import twice
from tests.backup.town import Town


@pytest.fixture(autouse=True)
def _each_change_runs_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    twice.install(monkeypatch)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path / "data")
    yield town
    town.store.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The URL of an S3 server."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                request = urllib.request.Request(f"{url}/backups", method="PUT")
                with urllib.request.urlopen(request, timeout=5):
                    break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> BackupPlace:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return BackupPlace(f"s3://backups/{random.randrange(1 << 32):x}")


@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.long)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> BackupPlace:
    if request.param == "directory":
        return BackupPlace(str(tmp_path / "backups"))
    place: BackupPlace = request.getfixturevalue("bucket")
    return place
