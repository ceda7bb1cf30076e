"""Measurements of disk usage, for one caller."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from dtrfast.errors import NameInvalid
from dtrfast.index.engine import Engine
from dtrfast.oci.digests import Digest, Reference
from dtrfast.oci.names import ROOT, RepositoryName
from dtrfast.registry import (
    listing,
    management,
    policies,
    repositories,
    statistics,
    usage,
    usage_scopes,
)
from dtrfast.registry.blobs import Blobs
from dtrfast.registry.listing import Columns, Listing, ListRequest
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.statistics import RegistryStatistics
from dtrfast.registry.trash import count_of
from dtrfast.registry.usage import Numbers
from dtrfast.registry.usage_scopes import FindScope
from dtrfast.store.blobs import BlobStore


@dataclass(frozen=True, slots=True)
class Measurement:
    """The numbers of a measurement. With `is_bound`, `unique` and `freed` are upper bounds: exact
    numbers would show the caller what repositories hold that it may not see.
    """

    numbers: Numbers
    is_bound: bool = False


@dataclass(frozen=True, slots=True)
class NamedNumbers:
    """The numbers of a repository's last measurement."""

    name: str
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class StorageSummary:
    """The whole registry in numbers. `trash` is None unless it was measured."""

    statistics: RegistryStatistics
    trash_things: int
    reserve_bytes: int
    trash: Numbers | None = None

    @property
    def trash_bytes(self) -> int:
        """The bytes that emptying the trash would free; 0 if it was not measured."""
        return 0 if self.trash is None else self.trash.unique_bytes

    @property
    def is_trash_part(self) -> bool:
        """True if the trash is too large for one request: `trash_bytes` are a part."""
        return self.trash is not None and self.trash.is_part


_COLUMNS: Columns[NamedNumbers] = {
    "name": lambda one: one.name,
    "freed": lambda one: one.numbers.freed_bytes,
    "stored": lambda one: one.numbers.stored_bytes,
}


class Measurements:
    """Measures the disk usage of repositories, manifests and blobs, at a bounded cost.

    Methods that take a repository raise what `Permits.check` does.
    """

    def __init__(self, engine: Engine, store: BlobStore, blobs: Blobs, permits: Permits) -> None:
        self._engine = engine
        self._store = store
        self._blobs = blobs
        self._permits = permits

    def of_repository(self, name: RepositoryName) -> Measurement:
        """Measure a repository. If a system administrator measures it in full, the numbers are kept
        for lists.

        If it is too large for one request, a system administrator gets the kept numbers (for
        example of the job `measure`), or those of a part if none are kept. Others get upper bounds.
        """
        self._require(name)
        found = self._measure(usage_scopes.of_repository(name))
        if found.is_bound:
            return found
        if not found.numbers.is_part:
            usage.keep(self._engine, name.text, found.numbers)
            return found
        with self._engine.read() as transaction:
            kept = usage.kept(transaction, name.text)
        if kept is None:
            return found
        is_exact = kept.is_exact and kept.change_number == found.numbers.change_number
        return Measurement(msgspec.structs.replace(kept, is_exact=is_exact))

    def of_manifest(self, name: RepositoryName, reference: Reference) -> Measurement:
        """Measure a tag or a manifest. `freed` of an index includes the images that no tag and no
        other index names. Raises `ManifestUnknown`.
        """
        self._require(name)
        return self._measure(usage_scopes.of_manifest(name, reference))

    def of_blob(self, name: RepositoryName, digest: Digest) -> Measurement:
        """Measure a blob of a repository. Raises `BlobUnknown`."""
        self._require(name)
        self._blobs.stat(name, digest)  # before the measurement: it renews the blob's link
        return self._measure(usage_scopes.of_blob(name, digest))

    def of_namespace(self, namespace: str) -> Measurement:
        """Measure all repositories of a namespace, for its administrators. Raises `NameInvalid`,
        `AccountUnknown`, `AccessRefused`.
        """
        if namespace == ROOT:
            raise NameInvalid("repositories without a namespace are measured one by one")
        with self._engine.read() as transaction:
            self._permits.require_account(transaction, namespace)
            if not self._permits.administers(transaction, namespace):
                self._permits.require_admin(transaction)
        return self._measure(usage_scopes.of_namespace(namespace))

    def summary(self, *, with_trash: bool = False) -> StorageSummary:
        """Return the whole registry in numbers; measuring the trash takes a time in proportion to
        it. Raises `AccessRefused` for callers who are not system administrators.
        """
        with self._engine.read() as transaction:
            self._permits.require_admin(transaction)
            reserve = policies.read(transaction).reserve_bytes
            counts, trash_count = statistics.read(transaction), count_of(transaction)
        trash = None
        if with_trash:
            trash = usage.measure(self._engine, self._store, usage_scopes.of_trash)
        return StorageSummary(counts, trash_count, reserve, trash)

    def page(self, request: ListRequest) -> Listing[NamedNumbers]:
        """Return a page of repositories with the numbers that were measured last. Raises
        `AccessRefused` for callers who are not system administrators.
        """
        with self._engine.read() as transaction:
            self._permits.require_admin(transaction)
            names = management.visible_names(transaction, self._permits, request.first)
            kept = ((name, usage.kept(transaction, name)) for name in names)
            known = (NamedNumbers(name, numbers) for name, numbers in kept if numbers is not None)
            return listing.by_name(known, request, _COLUMNS)

    def _require(self, name: RepositoryName) -> None:
        with self._engine.read() as transaction:
            repositories.require(transaction, self._permits, name, Action.PULL)

    def _measure(self, find_scope: FindScope) -> Measurement:
        with self._engine.read() as transaction:
            is_admin = self._permits.is_admin(transaction)
        permits = None if is_admin else self._permits
        numbers = usage.measure(self._engine, self._store, find_scope, permits)
        return Measurement(numbers, is_bound=not is_admin)
