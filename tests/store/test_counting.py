"""The counting blob store passes the contract, and counts."""

from __future__ import annotations

import pytest

from dtrfast.errors import DigestInvalid, StorageFull
from dtrfast.metrics.blob_totals import BlobTotals
from dtrfast.oci.digests import Digest
from dtrfast.store.counting import BlobCounts, CountingBlobs
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import Clock
from tests.fakes.faulty_blobs import FaultyBlobs
from tests.store.blob_contract import BlobContract, push, random_bytes, read
from tests.store.fill_contract import FillContract
from tests.store.holders import drop, release


@pytest.fixture
def counts() -> BlobCounts:
    return BlobCounts()


@pytest.fixture
def faulty(clock: Clock) -> FaultyBlobs:
    return FaultyBlobs(MemoryBlobs(clock))


@pytest.fixture
def blobs(faulty: FaultyBlobs, counts: BlobCounts) -> CountingBlobs:
    return CountingBlobs(faulty, counts)


@pytest.mark.long
class TestCountingBlobs(BlobContract, FillContract):
    """The store below is the fault injector, which passes the contract without faults, too."""


def test_nothing_is_counted_at_first(blobs: CountingBlobs, counts: BlobCounts) -> None:
    blobs.begin("a").cancel()
    assert counts.totals() == BlobTotals()


def test_what_is_placed_read_and_released(blobs: CountingBlobs, counts: BlobCounts) -> None:
    small, large = push(blobs, b"small"), push(blobs, random_bytes(300_000))
    assert counts.totals() == BlobTotals(placed=2, placed_bytes=300_005)
    assert blobs.peek(small).body == b"small"
    assert blobs.peek(large).body is None
    assert counts.totals() == BlobTotals(2, 300_005), "the index answers, which HEAD asks as well"
    read(blobs, large, 1000, 250_000)
    reader = blobs.open_range(large)
    assert counts.totals() == BlobTotals(2, 300_005, opened=1, read_bytes=250_000)
    reader.close()
    reader.close()
    assert counts.totals() == BlobTotals(2, 300_005, opened=2, read_bytes=250_000)
    drop(blobs, small)
    release(blobs)
    assert counts.totals().released == 1


def test_failures_by_their_kind(
    blobs: CountingBlobs, faulty: FaultyBlobs, counts: BlobCounts
) -> None:
    upload = blobs.begin("a")
    with pytest.raises(DigestInvalid):
        blobs.commit(upload, Digest.of_bytes(b"other"))
    digest = push(blobs, b"x")
    for method in ("open_range", "settle", "release"):
        faulty.fail(method, StorageFull("full"))
    with pytest.raises(StorageFull):
        blobs.open_range(digest)
    with pytest.raises(StorageFull):
        push(blobs, b"y")
    with pytest.raises(StorageFull):
        blobs.release([digest], lambda contents: [False for _ in contents])
    assert counts.totals().failed == {"DigestInvalid": 1, "StorageFull": 3}
    assert counts.totals().placed == 1
