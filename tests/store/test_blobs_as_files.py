"""The second blob store, which tests of the registry run over, passes the contract."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blobs_as_files import FileBlobs
from tests.fakes.clock import Clock
from tests.store.blob_contract import BlobContract
from tests.store.fill_contract import FillContract

pytestmark = pytest.mark.long

_MEMORY = Path("/dev/shm")


@pytest.fixture
def blobs(clock: Clock) -> Iterator[FileBlobs]:
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.exists() else None) as folder:
        yield FileBlobs(Path(folder), clock)


class TestFileBlobs(BlobContract, FillContract):
    pass
