"""A blob far larger than any buffer, through the running server."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.load import Body, Framing, Job, Push, Request, Result
from tests.e2e.http_client import begin, connect
from tests.e2e.registry import Registry

# LARGE_BLOB_SIZE=20000000000 is the promised size. It needs as much disk space, and minutes.
SIZE = int(os.environ.get("LARGE_BLOB_SIZE", 5_000_000_000))
# The bytes of the file that are really on the disk.
LOOSE_SIZE = int(os.environ.get("LARGE_BLOB_SIZE", 2_000_000_000))
_LOOK_SECONDS = 0.05
BUFFER = 1 << 20
# The content repeats after these bytes, so that it fits on the disk of a test machine.
PIECE = random.Random(6).randbytes(64 << 20)
# Two buffers, the table of recent chunks, the threads' stacks, and the allocator's overhead.
GROWTH_MAX = 40 << 20


def anonymous_bytes(registry: Registry) -> int:
    """Return the resident anonymous memory of the largest worker: its rss without mapped files."""
    memory = [worker.memory_full_info() for worker in registry.workers()]
    return max(m.rss - m.shared for m in memory)


@pytest.mark.slow
def test_a_chunked_blob_passes_through_a_worker_of_small_memory(own_registry: Registry) -> None:
    digest = hashlib.sha256()
    before, peak = anonymous_bytes(own_registry), 0

    def body() -> Iterator[bytes]:
        nonlocal peak
        for position in range(0, SIZE, BUFFER):
            start = position % len(PIECE)
            buffer = PIECE[start : start + min(BUFFER, SIZE - position)]
            digest.update(buffer)
            if position % (512 << 20) == 0:
                peak = max(peak, anonymous_bytes(own_registry))
            yield buffer

    with connect(own_registry) as client:
        location = begin(client, "a/b")
        response = client.patch(location, content=body())
        assert response.status_code == 202, response.text
        name = f"sha256:{digest.hexdigest()}"
        response = client.put(response.headers["location"], params={"digest": name})
        assert response.status_code == 201, response.text
        peak = max(peak, anonymous_bytes(own_registry))
        assert int(client.head(f"/v2/a/b/blobs/{name}").headers["content-length"]) == SIZE
        start = SIZE * 3 // 5
        part = client.get(
            f"/v2/a/b/blobs/{name}", headers={"range": f"bytes={start}-{start + BUFFER - 1}"}
        )
        assert part.status_code == 206
        assert part.content == (PIECE + PIECE)[start % len(PIECE) :][:BUFFER]
    pull = Job((Request("GET", f"/v2/a/b/blobs/{name}"),))
    address = ("127.0.0.1", own_registry.port)
    pulling = peak_while(own_registry, lambda: load.run(address, [pull], connections=1))
    assert max(peak, pulling) - before < GROWTH_MAX
    assert own_registry.disk_usage() < 2 * len(PIECE)


def peak_while(registry: Registry, work: Callable[[], Result]) -> int:
    """Return a worker's largest anonymous memory during `work`, which must succeed."""
    with ThreadPoolExecutor(1) as threads:
        done, peak = threads.submit(work), 0
        while wait([done], _LOOK_SECONDS).not_done:
            peak = max(peak, anonymous_bytes(registry))
    assert done.result().errors == ()
    return peak


@pytest.mark.slow
@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.LENGTH])
def test_a_loose_blob_comes_and_goes_in_small_memory(
    own_registry: Registry, tmp_path: Path, framing: Framing
) -> None:
    """A file with a hole has its full length, and is whole on the server's disk."""
    path, digest = tmp_path / "blob", hashlib.sha256()
    path.write_bytes(b"\x1f\x8b\x08")
    os.truncate(path, LOOSE_SIZE)
    with path.open("rb") as file:
        while piece := file.read(BUFFER):
            digest.update(piece)
    name, address = f"sha256:{digest.hexdigest()}", ("127.0.0.1", own_registry.port)
    push = Job((Push("a/b", name, Body(path), framing),))
    pull = Job((Request("GET", f"/v2/a/b/blobs/{name}"),))
    before = anonymous_bytes(own_registry)
    pushing = peak_while(own_registry, lambda: load.run(address, [push], connections=1))
    pulling = peak_while(own_registry, lambda: load.run(address, [pull], connections=1))
    assert max(pushing, pulling) - before < GROWTH_MAX
    assert own_registry.disk_usage() >= LOOSE_SIZE
