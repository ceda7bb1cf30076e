"""The domain over the in-memory seams."""

from __future__ import annotations

import pytest

from dtrfast.config import Config
from dtrfast.registry.registry import Registry
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


@pytest.fixture
def blobs(engine: MemoryEngine, clock: Clock) -> MemoryBlobs:
    return MemoryBlobs(clock)


@pytest.fixture
def registry(engine: MemoryEngine, blobs: MemoryBlobs, clock: Clock) -> Registry:
    return Registry(engine, blobs, Config(), clock=clock, fullness=lambda: 0.0)
