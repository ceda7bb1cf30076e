"""The fake passes the contract of blob stores."""

from __future__ import annotations

import pytest

from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import Clock
from tests.store.blob_contract import BlobContract
from tests.store.fill_contract import FillContract


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def blobs(clock: Clock) -> MemoryBlobs:
    return MemoryBlobs(clock)


class TestMemoryBlobs(BlobContract, FillContract):
    pass
