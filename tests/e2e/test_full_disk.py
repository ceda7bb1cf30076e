"""A disk that becomes full: nothing acknowledged is lost, and pushes work once there is room."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.http_client import begin, connect, digest_of, pull, push
from tests.e2e.programs import require_root
from tests.e2e.registry import Registry, running

GZIP = b"\x1f\x8b"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    require_root("a small file system is mounted")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("tmpfs cannot be mounted here: run the tests where root may mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_registry(small_disk: Path) -> Iterator[Registry]:
    with running(small_disk) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("magic", [b"", GZIP], ids=["chunked", "loose"])
def test_a_full_disk_is_told_survived_and_left(small_registry: Registry, magic: bytes) -> None:
    kept = magic + random.Random(1).randbytes(5_000_000)
    large = magic + random.Random(2).randbytes(60_000_000)
    with connect(small_registry) as client:
        push(client, "a/b", kept, digest_of(kept))
        response = client.put(
            begin(client, "a/b"), params={"digest": digest_of(large)}, content=large
        )
        assert response.status_code == 507
        assert response.json()["errors"][0]["code"] == "DENIED"
        assert "full" in response.json()["errors"][0]["message"]
        assert client.head(f"/v2/a/b/blobs/{digest_of(large)}").status_code == 404
        assert pull(client, "a/b", digest_of(kept)) == kept


@pytest.mark.slow
def test_pushing_works_again_once_there_is_room(small_registry: Registry, small_disk: Path) -> None:
    body = GZIP + random.Random(3).randbytes(4_000_000)
    ballast = small_disk / "ballast"
    with connect(small_registry) as client:
        with ballast.open("wb") as file:
            statistics = os.statvfs(small_disk)
            os.posix_fallocate(
                file.fileno(), 0, statistics.f_bavail * statistics.f_bsize - (1 << 20)
            )
        # The server refuses before a byte is sent. The remaining space is for deletes and reclaim.
        response = client.post("/v2/a/b/blobs/uploads/")
        assert response.status_code == 507
        assert response.json()["errors"][0]["code"] == "DENIED"
        ballast.unlink()
        time.sleep(1)
        push(client, "a/b", body, digest_of(body))
        assert pull(client, "a/b", digest_of(body)) == body


@pytest.mark.slow
@pytest.mark.parametrize("magic", [b"", GZIP], ids=["chunked", "loose"])
def test_deletes_make_room_on_a_full_disk(small_registry: Registry, magic: bytes) -> None:
    """No command is needed: the server frees deleted content by itself, and pushes work again."""
    pushed = []
    with connect(small_registry) as client:
        for seed in range(30):
            body = magic + random.Random(seed).randbytes(3_000_000)
            response = client.post(
                "/v2/a/b/blobs/uploads/", params={"digest": digest_of(body)}, content=body
            )
            if response.status_code != 201:
                break
            pushed.append(digest_of(body))
        assert response.status_code == 507
        assert len(pushed) > 5
        for digest in pushed[:-1]:
            assert client.delete(f"/v2/a/b/blobs/{digest}").status_code == 202
        deadline = time.monotonic() + 30
        while client.post("/v2/a/b/blobs/uploads/").status_code != 202:
            assert time.monotonic() < deadline, "deleting did not make room"
            time.sleep(0.5)
        again = magic + random.Random(99).randbytes(10_000_000)
        while (
            response := client.post(
                "/v2/a/b/blobs/uploads/", params={"digest": digest_of(again)}, content=again
            )
        ).status_code == 507:
            assert time.monotonic() < deadline, response.text
            time.sleep(0.5)
        assert pull(client, "a/b", digest_of(again)) == again
