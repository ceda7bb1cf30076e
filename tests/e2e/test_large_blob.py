"""A blob far larger than any buffer, through the running server."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from tests.e2e.http_client import begin, connect
from tests.e2e.registry import Registry

SIZE = 5_000_000_000
BUFFER = 1 << 20
# The content repeats after this much, so that the disk of a test machine holds it.
PIECE = random.Random(6).randbytes(64 << 20)


def anonymous_bytes(registry: Registry) -> int:
    """Resident anonymous memory of the largest worker: rss without mapped files."""
    memory = [worker.memory_full_info() for worker in registry.workers()]
    return max(m.rss - m.shared for m in memory)


@pytest.mark.slow
def test_five_gigabytes_pass_through_a_worker_of_small_memory(own_registry: Registry) -> None:
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
        start = 3_000_000_000
        part = client.get(
            f"/v2/a/b/blobs/{name}", headers={"range": f"bytes={start}-{start + BUFFER - 1}"}
        )
        assert part.status_code == 206
        assert part.content == (PIECE + PIECE)[start % len(PIECE) :][:BUFFER]
    # Two buffers, the table of recent chunks, threads' stacks and the allocator's slack.
    assert peak - before < 40 << 20
    assert own_registry.disk_usage() < 2 * len(PIECE)
