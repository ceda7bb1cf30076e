"""The registry: the domain's parts over an index and a blob store. Safe from many threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from dtrfast.config import Config
from dtrfast.index.engine import Engine
from dtrfast.registry import statistics
from dtrfast.registry.blobs import Blobs, Uploads
from dtrfast.registry.manifests import Manifests, Rules
from dtrfast.registry.referrers import Referrers
from dtrfast.registry.repositories import Catalog
from dtrfast.registry.search import Search
from dtrfast.registry.statistics import RegistryStatistics
from dtrfast.registry.tags import Tags
from dtrfast.registry.writing import Author
from dtrfast.store.blobs import BlobStore

ANONYMOUS = "anonymous"
# Enough time for somebody to act, on disks of any usual size.
_FULLNESS_WARNED = 0.95


def _now() -> int:
    return int(time.time())


def measure_fullness(directory: Path) -> float:
    """The used part of the directory's file system, from 0 to 1, as its users see it."""
    status = os.statvfs(directory)
    used = status.f_blocks - status.f_bfree
    return used / max(1, used + status.f_bavail)


class Registry:
    """Everything that the API serves. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        engine: Engine,
        blobs: BlobStore,
        config: Config,
        *,
        clock: Callable[[], int] = _now,
        fullness: Callable[[], float] | None = None,
    ) -> None:
        rules = Rules(config.registry.require_blobs, config.registry.require_children)
        self._engine = engine
        self._clock = clock
        self._data = config.store.data
        self._fullness = fullness
        self.catalog = Catalog(engine)
        self.tags = Tags(engine)
        self.manifests = Manifests(engine, rules)
        self.referrers = Referrers(engine)
        self.search = Search(engine)
        self.blobs = Blobs(blobs, self.catalog)
        self.uploads = Uploads(blobs, self.catalog)

    def author(self, actor: str = ANONYMOUS) -> Author:
        """Who changes something now."""
        return Author(actor, self._clock())

    def statistics(self) -> RegistryStatistics:
        """What the registry holds. Also the cheapest proof that the index answers."""
        with self._engine.read() as transaction:
            return statistics.read(transaction)

    def warnings(self) -> list[str]:
        """What whoever pushes now should know."""
        fullness = measure_fullness(self._data) if self._fullness is None else self._fullness()
        if fullness <= _FULLNESS_WARNED:
            return []
        return [f"the registry's disk is {fullness:.0%} full: pushes will soon be refused"]
