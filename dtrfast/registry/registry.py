"""The registry: the domain's parts over an index and a blob store. Safe from many threads."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence

from dtrfast.config import Config
from dtrfast.errors import NameInvalid
from dtrfast.index.engine import Engine
from dtrfast.machine import space
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import ownership, statistics, unheld, usage, verify
from dtrfast.registry.blobs import Blobs, Uploads
from dtrfast.registry.holdings import Holdings
from dtrfast.registry.holdings_index import index_holdings
from dtrfast.registry.manifests import Manifests
from dtrfast.registry.ownership import Ownership
from dtrfast.registry.permits import EVERYBODY, Permits
from dtrfast.registry.referrers import Referrers
from dtrfast.registry.repositories import Catalog
from dtrfast.registry.restoring import Trash
from dtrfast.registry.search import Search
from dtrfast.registry.statistics import RegistryStatistics
from dtrfast.registry.tags import Tags
from dtrfast.registry.writing import Author
from dtrfast.store.blobs import BlobStore

# Enough time for somebody to act, on disks of any usual size.
_FULLNESS_WARNED = 0.95


def _now() -> int:
    return int(time.time())


class Registry:
    """Everything that the API serves, for one caller. `clock` gives seconds since the epoch.

    One that was opened serves everybody everything: an API with accounts asks `acting_for`.
    """

    def __init__(
        self,
        engine: Engine,
        blobs: BlobStore,
        config: Config,
        *,
        clock: Callable[[], int] = _now,
        fullness: Callable[[], float] | None = None,
    ) -> None:
        self.holdings: Holdings = index_holdings(engine, blobs, config, clock)
        self._engine = engine
        self._store = blobs
        self._clock = clock
        self._data = config.store.data
        self._grace_seconds = math.ceil(config.store.grace_seconds)
        self._open_uploads_max = config.registry.open_uploads_max
        self._fullness = fullness
        self._act_for(EVERYBODY)

    def acting_for(self, permits: Permits) -> Registry:
        """The same registry as somebody may use it."""
        registry = copy.copy(self)
        registry._act_for(permits)
        return registry

    def _act_for(self, permits: Permits) -> None:
        holdings, store = self.holdings, self._store
        self.permits = permits
        self.catalog = Catalog(holdings, permits)
        self.tags = Tags(holdings, permits)
        self.manifests = Manifests(holdings, permits)
        self.referrers = Referrers(holdings, permits)
        self.trash = Trash(self._engine, holdings, permits)
        self.search = Search(self._engine, permits)
        self.blobs = Blobs(store, holdings, permits)
        self.uploads = Uploads(store, holdings, permits, self._open_uploads_max)

    def author(self, actor: str | None = None) -> Author:
        """Who changes something now: the caller, if nobody else is named."""
        return Author(self.permits.actor if actor is None else actor, self._clock())

    def ownership(self, text: str) -> Ownership:
        """Return the ids of a repository and of its owner, for a record of what was done. `text` is
        its name, which a client sent.
        """
        try:
            name = RepositoryName.parse(text)
        except NameInvalid:
            return Ownership()
        with self._engine.read() as transaction:
            return ownership.find(transaction, name)

    def confirm(self) -> None:
        """Return if the caller still is who it was. Raises `TokenInvalid`."""
        with self._engine.read() as transaction:
            self.permits.confirm(transaction)

    def statistics(self) -> RegistryStatistics:
        """What the registry holds. Also the cheapest proof that the index answers."""
        with self._engine.read() as transaction:
            return statistics.read(transaction)

    def measure(
        self, ask: usage.Ask, *, is_bounded: bool = False, is_request: bool = True
    ) -> usage.Numbers:
        """The room that something takes. With `is_bounded` only what the caller may know of others
        that share it. A request gets the figures of a part where the whole would cost too much.
        """
        permits = self.permits if is_bounded else None
        return usage.measure(self._engine, self._store, ask, permits, is_request=is_request)

    def verify(self, progress: verify.Progress, tell: verify.Tell) -> None:
        """Tell which rows of the registry do not fit, and which content is missing."""
        verify.verify(self._engine, self._store.sizes, progress, tell)

    def are_kept(self, contents: Sequence[Sequence[Digest]]) -> list[bool]:
        """For a check: which contents, by their names, are held or wait to be released."""
        return unheld.are_kept(self._engine, contents)

    def pending(self) -> dict[str, int]:
        """Count what is to be dropped and is due, by kind; up to a thousand of each."""
        with self._engine.read() as transaction:
            return unheld.pending(transaction, self._clock(), self._grace_seconds)

    def in_grace(self) -> tuple[int, int]:
        """Count the blobs that are unreferenced and in their grace, up to ten thousand; with the
        time at which the first grace ends.
        """
        with self._engine.read() as transaction:
            return unheld.in_grace(transaction, self._grace_seconds)

    def warnings(self) -> list[str]:
        """What whoever pushes now should know."""
        fullness = self._fullness() if self._fullness else space.measure(self._data).fullness
        if fullness <= _FULLNESS_WARNED:
            return []
        return [f"the registry's disk is {fullness:.0%} full: pushes will soon be refused"]
