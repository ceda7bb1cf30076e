"""A blob far larger than memory passes with small buffers."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import psutil
import pytest

from dtrfast.oci.digests import Digest
from dtrfast.store.store import Store
from tests.store.holders import commit

SIZE = 5_000_000_000
BUFFER = 1 << 20


@pytest.mark.slow
def test_five_gigabytes_pass_with_small_buffers(store: Store, data: Path) -> None:
    """Its content repeats after 64 MiB, so that it fits the disk of a test machine."""
    piece = random.Random(5).randbytes(64 << 20)
    upload = store.blobs.begin("some/name")
    digest = hashlib.sha256()
    process = psutil.Process()
    before, peak = process.memory_info().rss, 0
    for position in range(0, SIZE, BUFFER):
        start = position % len(piece)
        buffer = memoryview(piece)[start : start + min(BUFFER, SIZE - position)]
        digest.update(buffer)
        upload.append(buffer)
        if position % (256 << 20) == 0:
            peak = max(peak, process.memory_info().rss - before)
    name = Digest("sha256", digest.digest())
    commit(store.blobs, upload, name)
    peak = max(peak, process.memory_info().rss - before)
    # Buffers, the table of recent chunks, and pages of the index, which the kernel may evict.
    assert peak < 48 << 20
    assert store.blobs.stat(name).size == SIZE
    assert store.statistics().pack_bytes < 2 * len(piece)

    read = 0
    with store.blobs.open_range(name, SIZE - 1_000_000) as reader:
        for segment in reader:
            read += len(segment) if isinstance(segment, bytes) else segment.length
    assert read == 1_000_000
