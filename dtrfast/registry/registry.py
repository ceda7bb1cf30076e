"""The registry: the domain's parts over an index and a blob store. Safe from many threads."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence

from dtrfast.config import Config
from dtrfast.errors import NameInvalid, RepositoryUnknown
from dtrfast.index.engine import Engine
from dtrfast.index.survey import survey
from dtrfast.machine import space
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import (
    budget,
    ownership,
    repositories,
    statistics,
    unheld,
    usage,
    usage_scopes,
    verify,
)
from dtrfast.registry.blobs import Blobs, Uploads
from dtrfast.registry.deletion import Deletions
from dtrfast.registry.holdings import Holdings
from dtrfast.registry.holdings_index import index_holdings
from dtrfast.registry.images import Images
from dtrfast.registry.job_records import Jobs
from dtrfast.registry.management import Repositories
from dtrfast.registry.manifests import Manifests
from dtrfast.registry.measurements import Measurements
from dtrfast.registry.ownership import Ownership
from dtrfast.registry.permits import EVERYBODY, Permits
from dtrfast.registry.referrers import Referrers
from dtrfast.registry.repositories import Catalog
from dtrfast.registry.search import Search
from dtrfast.registry.statistics import RegistryStatistics
from dtrfast.registry.tags import Tags
from dtrfast.registry.trash_management import Trash
from dtrfast.registry.usage_scopes import FindScope
from dtrfast.registry.writing import Author
from dtrfast.store.blobs import BlobStore

# Of the disk. On disks of any usual size, this leaves an administrator enough time to act.
_FULLNESS_WARNED = 0.95


class Registry:
    """All parts of the domain, for one caller. `clock` gives seconds since the epoch.

    A new instance lets all callers do everything. An API with accounts uses `acting_for`.
    """

    def __init__(
        self,
        engine: Engine,
        blobs: BlobStore,
        config: Config,
        *,
        clock: Callable[[], int] = lambda: int(time.time()),
        fullness: Callable[[], float] | None = None,
    ) -> None:
        self.holdings: Holdings = index_holdings(engine, blobs, config, clock)
        self._engine = engine
        self._store = blobs
        self._clock = clock
        self._data = config.store.data
        self._grace_seconds = math.ceil(config.store.grace_seconds)
        self._allows_deletes = config.registry.delete
        self._open_uploads_max = config.registry.open_uploads_max
        self._fullness = fullness
        self._act_for(EVERYBODY)

    def acting_for(self, permits: Permits) -> Registry:
        """Return the same registry for a caller with these permits."""
        registry = copy.copy(self)
        registry._act_for(permits)
        return registry

    def _act_for(self, permits: Permits) -> None:
        holdings, store = self.holdings, self._store
        self.permits = permits
        self.catalog = Catalog(holdings, permits)
        self.repositories = Repositories(self._engine, permits, self._clock)
        self.tags = Tags(self._engine, holdings, permits)
        self.manifests = Manifests(holdings, permits)
        self.referrers = Referrers(holdings, permits)
        self.trash = Trash(self._engine, holdings, permits, self._clock)
        self.deletions = Deletions(
            self._engine,
            store,
            holdings,
            permits,
            self._clock,
            is_allowed=self._allows_deletes,
        )
        self.search = Search(self._engine, permits)
        self.blobs = Blobs(store, holdings, permits)
        self.images = Images(self._engine, self.blobs, permits)
        self.measurements = Measurements(self._engine, store, self.blobs, permits)
        self.uploads = Uploads(store, holdings, permits, self._open_uploads_max)

    def jobs(self, *, has_directory: bool) -> Jobs:
        """Return the jobs of the housekeeper. `has_directory`: see `Jobs`."""
        return Jobs(self._engine, self.permits, self._clock, has_directory=has_directory)

    def author(self, actor: str | None = None) -> Author:
        """Return the author of a change at this moment: `actor`, or without it the caller."""
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
        """Return if the caller's credential is still valid. Raises `TokenInvalid`."""
        with self._engine.read() as transaction:
            self.permits.confirm(transaction)

    def statistics(self) -> RegistryStatistics:
        """Return the counters. This is also the cheapest proof that the index answers."""
        with self._engine.read() as transaction:
            return statistics.read(transaction)

    def measure(
        self, find_scope: FindScope, *, is_bounded: bool = False, is_request: bool = True
    ) -> usage.Numbers:
        """Measure the disk usage of a scope. With `is_bounded` the numbers show nothing of
        repositories that the caller may not see. If the whole scope would cost too much for a
        request, the numbers cover a part.
        """
        permits = self.permits if is_bounded else None
        return usage.measure(self._engine, self._store, find_scope, permits, is_request=is_request)

    def blobs_in(self, name: str) -> list[Digest]:
        """Return the blobs of the repository, or of all repositories of the namespace, that a name
        of one part gives. Raises `RepositoryUnknown`, `NameInvalid`.
        """
        names = [name]
        if "/" not in name:
            with self._engine.read() as transaction:
                names = list(repositories.names_of(transaction, name))
        found: dict[Digest, None] = {}
        for one in names:
            find = usage_scopes.of_repository(RepositoryName(one))
            with self._engine.read() as transaction:
                found |= find(transaction, budget.unlimited()).blobs
        if not names:
            raise RepositoryUnknown(f"there is no repository in the namespace {name}")
        return list(found)

    def verify(self, progress: verify.Progress, tell: verify.Tell) -> None:
        """Check the registry's rows. `tell` gets a sentence for each fault and each missing
        content.
        """
        verify.verify(self._engine, self._store.sizes, progress, tell)

    def are_kept(self, contents: Sequence[Sequence[Digest]]) -> list[bool]:
        """Return True for content that is held or waits to be released, for a check of the store.
        Each content is given by all its digests.
        """
        return unheld.are_kept(self._engine, contents)

    def survey(self, rows: int) -> dict[str, str]:
        """Look at the first rows of each shared table, for diagnostics; see `index.survey`."""
        return survey(self._engine, "shared", rows)

    def pending(self) -> dict[str, int]:
        """Count the links and the content that wait to be dropped, by kind; up to a thousand of
        each.
        """
        with self._engine.read() as transaction:
            return unheld.pending(transaction, self._clock(), self._grace_seconds)

    def in_grace(self) -> tuple[int, int]:
        """Count the blobs that are unreferenced and in their grace, up to ten thousand; with the
        time at which the first grace ends.
        """
        with self._engine.read() as transaction:
            return unheld.in_grace(transaction, self._grace_seconds)

    def warnings(self) -> list[str]:
        """Return warnings for clients that push."""
        fullness = self._fullness() if self._fullness else space.measure(self._data).fullness
        if fullness <= _FULLNESS_WARNED:
            return []
        return [f"the registry's disk is {fullness:.0%} full: pushes will soon be refused"]
