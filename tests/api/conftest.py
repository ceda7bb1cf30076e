"""A registry over each implementation of the seams, and a client for it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dtrfast.api.app import create_app
from dtrfast.api.types import ApiContext
from dtrfast.config import Config, RegistryConfig, ServerConfig, StoreConfig
from dtrfast.identity.guard import OpenGuard
from dtrfast.index.engine import Engine
from dtrfast.registry.registry import Registry
from dtrfast.store.blobs import BlobStore
from dtrfast.store.report import StoreReport
from dtrfast.store.store import Store
from tests.assembly import blobs_under_test, is_over_files
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.client import Client
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine
from tests.fakes.hop import ThreadHop

_MEMORY = Path("/dev/shm")


@dataclass
class Backend:
    """An index and blobs."""

    engine: Engine
    blobs: BlobStore


@dataclass
class World:
    """A registry with parts that a test can change."""

    backend: Backend
    clock: Clock
    hop: ThreadHop
    runner: asyncio.Runner
    fullness: float = 0.5
    clients: list[Client] = field(default_factory=list)

    def client(
        self, registry: RegistryConfig | None = None, server: ServerConfig | None = None
    ) -> Client:
        config = Config(registry=registry or RegistryConfig(), server=server or ServerConfig())
        domain = Registry(
            self.backend.engine,
            self.backend.blobs,
            config,
            clock=self.clock,
            fullness=lambda: self.fullness,
        )
        report = StoreReport(self.backend.engine)
        context = ApiContext(domain, self.hop, config, OpenGuard(domain), report)
        client = Client(create_app(context), self.runner)
        self.clients.append(client)
        return client


@pytest.fixture
def clock() -> Clock:
    return Clock()


# A run over the second blob store leaves out the fake, which other runs cover.
@pytest.fixture(params=["real"] if is_over_files() else ["fake", "real"])
def backend(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Backend]:
    if request.param == "fake":
        engine = MemoryEngine()
        yield Backend(engine, MemoryBlobs(clock))
        return
    # A store has hundreds of directories, so they are removed at once (pytest keeps three runs).
    # They are in memory if possible, since no test here is about power cuts.
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.exists() else None) as directory:
        store = Store.open(Path(directory) / "data", StoreConfig(), clock=clock)
        blobs = blobs_under_test(store.blobs, Path(directory) / "files", clock)
        yield Backend(store.engine, blobs)
        store.close()


@pytest.fixture
def world(backend: Backend, clock: Clock) -> Iterator[World]:
    hop = ThreadHop()
    with asyncio.Runner() as runner:
        world = World(backend, clock, hop, runner)
        yield world
        for client in world.clients:
            client.close()
    hop.close()


@pytest.fixture
def client(world: World) -> Client:
    return world.client()
