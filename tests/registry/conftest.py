"""The domain over the in-memory seams, and over a real store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtrfast.config import Config, StoreConfig
from dtrfast.registry.registry import Registry
from dtrfast.store.blobs import BlobStore
from dtrfast.store.store import Store
from tests.assembly import blobs_under_test
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine

_MEMORY = Path("/dev/shm")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


@pytest.fixture
def blobs(clock: Clock, tmp_path: Path) -> BlobStore:
    return blobs_under_test(MemoryBlobs(clock), tmp_path / "files", clock)


@pytest.fixture
def registry(engine: MemoryEngine, blobs: BlobStore, clock: Clock) -> Registry:
    return Registry(engine, blobs, Config(), clock=clock, fullness=lambda: 0.0)


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory, in memory if possible, because no test here cuts the power."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.exists() else None) as directory:
        yield Path(directory) / "data"


@pytest.fixture
def store(data: Path, clock: Clock) -> Iterator[Store]:
    store = Store.open(data, StoreConfig(), clock=clock)
    yield store
    store.close()
