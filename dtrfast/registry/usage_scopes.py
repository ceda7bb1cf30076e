"""Scopes of measurements: blobs and manifests, and those of them that a deletion leaves.

The functions `of_*` return a function that finds a scope in a snapshot, and reads as many rows as
its budget covers. `usage` measures the scope.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from dtrfast.errors import ManifestUnknown
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import (
    LINKS,
    MANIFESTS,
    REFERENCES,
    REFERENCES_DELETED,
    REPOSITORIES_TRASHED,
    TRASH,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest, Reference
from dtrfast.oci.manifests import read_manifest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import deleted, families, keys, links, outlines, repositories, tags, trash
from dtrfast.registry.budget import Budget
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.outlines import Outline
from dtrfast.registry.records import StoredManifest

# Rows that a request reads to find a scope.
SCOPE_STEPS = 4_000
# Steps of one repository of a namespace, of one manifest, and of one parsed manifest of the trash.
_REPOSITORY_STEPS = 4
_MANIFEST_STEPS = 3
_PARSE_STEPS = 15


@dataclass(slots=True)
class MeasurementScope:
    """The scope of a measurement: its blobs and manifests, and what a deletion leaves of them.

    `leaving` are the repositories that would drop the blobs. `staying` are blobs that one of these
    repositories keeps, for example because a manifest outside of the deletion needs them.
    `staying_manifest_bytes` are those of manifests that the deletion does not take. `is_kept`: the
    deletion frees nothing, because another tag keeps the manifest.
    """

    manifests: int = 0
    manifest_bytes: int = 0
    blobs: dict[Digest, None] = field(default_factory=dict)
    leaving: set[RepositoryId] = field(default_factory=set)
    staying: set[Digest] = field(default_factory=set)
    staying_manifest_bytes: int = 0
    is_kept: bool = False


# Finds a scope in a snapshot, as far as the budget goes.
FindScope = Callable[[ReadTransaction, Budget], MeasurementScope]


def of_blob(name: RepositoryName, digest: Digest) -> FindScope:
    """Scope of the deletion of one blob of a repository. The result raises `RepositoryUnknown`."""

    def find(transaction: ReadTransaction, budget: Budget) -> MeasurementScope:
        number = repositories.get(transaction, name)
        return MeasurementScope(blobs={digest: None}, leaving={number})

    return find


def of_manifest(name: RepositoryName, reference: Reference) -> FindScope:
    """Scope of a tag or a manifest, with the manifests of an index. Those of them that something
    else keeps stay. The result raises `RepositoryUnknown`, `ManifestUnknown`.
    """

    def find(transaction: ReadTransaction, budget: Budget) -> MeasurementScope:
        repository = repositories.get(transaction, name)
        digest = reference
        if not isinstance(digest, Digest):
            digest = tags.get(transaction, repository, name, digest).digest
        if not families.is_there(transaction, repository, digest):
            message = f"there is no manifest {reference} in {name}"
            raise ManifestUnknown(message, detail=str(reference))
        scope = _scope_of_manifests(transaction, repository, [digest], budget)
        if not isinstance(reference, Digest):
            names = islice(tags.tags_of(transaction, repository, digest), 2)
            scope.is_kept = any(tag != reference for tag in names)
        return scope

    return find


def of_deletion(
    name: RepositoryName, digests: Iterable[Digest], family: Container[Digest] | None = None
) -> FindScope:
    """Scope of the deletion of some manifests together. `family` has all manifests that the
    deletion takes; None: the result finds them. The result raises `RepositoryUnknown`.
    """
    chosen = tuple(digests)

    def find(transaction: ReadTransaction, budget: Budget) -> MeasurementScope:
        repository = repositories.get(transaction, name)
        return _scope_of_manifests(transaction, repository, chosen, budget, family)

    return find


def of_repository(name: RepositoryName) -> FindScope:
    """Scope of a repository. The result raises `RepositoryUnknown`."""

    def find(transaction: ReadTransaction, budget: Budget) -> MeasurementScope:
        scope = MeasurementScope()
        _add_repository(transaction, scope, repositories.get(transaction, name), budget)
        return scope

    return find


def of_namespace(namespace: str) -> FindScope:
    """Scope of all repositories of an account."""

    def find(transaction: ReadTransaction, budget: Budget) -> MeasurementScope:
        scope = MeasurementScope()
        for name in repositories.names_of(transaction, namespace):
            if not budget.take(_REPOSITORY_STEPS):
                break
            number = repositories.get(transaction, RepositoryName(name))
            _add_repository(transaction, scope, number, budget)
        return scope

    return find


def of_trash(transaction: ReadTransaction, budget: Budget) -> MeasurementScope:
    """Find the content that only the trash holds, which emptying the trash would free."""
    scope = MeasurementScope()
    pairs: set[tuple[RepositoryId, Digest]] = set()
    for key, _ in transaction.scan(REPOSITORIES_TRASHED):
        repository = RepositoryId(number_of(key))
        pairs.update((repository, one) for one in _held_blobs(transaction, repository, budget))
    for key, _ in transaction.scan(TRASH):
        if not budget.take():
            break
        row = trash.parse(key)
        if row.kind == "manifest":
            repository, digest = keys.manifest_in(row.key)
            found = _blobs_of_deleted(transaction, repository, digest, budget)
            pairs.update((repository, blob) for blob in found)
    for repository, digest in pairs:
        scope.blobs[digest] = None
        scope.leaving.add(repository)
    holders = {d: links.holders(transaction, d, len(scope.leaving) + 1) for d in scope.blobs}
    scope.staying = {d for d, who in holders.items() if any((r, d) not in pairs for r in who)}
    return scope


def _blobs_of_deleted(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, budget: Budget
) -> Iterator[Digest]:
    """Return the blobs that a deleted manifest names and no present manifest does."""
    record = deleted.get(transaction, repository, digest)
    if record is None or not budget.parse(len(record.stored)) or not budget.take(_PARSE_STEPS):
        return
    stored = record.manifest
    outline = outlines.outline_of(read_manifest(stored.body, stored.media_type), len(stored.body))
    for blob in _blobs_of(transaction, repository, outline):
        if not budget.take():
            return
        if not links.is_referenced(transaction, repository, blob):
            yield blob


def _blobs_of(
    transaction: ReadTransaction, repository: RepositoryId, outline: Outline
) -> Iterator[Digest]:
    """Return the blobs that a manifest names, and the entries of an index that are blobs, as those
    of a build cache are.
    """
    yield from map(Digest.from_key, outlines.split(outline.blobs))
    for key in outlines.split(outline.strangers):
        digest = Digest.from_key(key)
        if links.get(transaction, repository, digest) is not None:
            yield digest


def _held_blobs(
    transaction: ReadTransaction, repository: RepositoryId, budget: Budget
) -> Iterator[Digest]:
    prefix = number_key(repository)
    for key, _ in transaction.scan(LINKS, prefix):
        if not budget.take():
            return
        yield keys.digest_in(key)


def _add_repository(
    transaction: ReadTransaction, scope: MeasurementScope, repository: RepositoryId, budget: Budget
) -> None:
    scope.leaving.add(repository)
    scope.blobs.update(dict.fromkeys(_held_blobs(transaction, repository, budget)))
    for _, data in transaction.scan(MANIFESTS, number_key(repository)):
        # Reading a large one takes longer.
        if not budget.take(1 + (len(data) >> 14)):
            return
        scope.manifests += 1
        scope.manifest_bytes += len(StoredManifest.decode(data).body)


def _scope_of_manifests(
    transaction: ReadTransaction,
    repository: RepositoryId,
    chosen: Sequence[Digest],
    budget: Budget,
    family: Container[Digest] | None = None,
) -> MeasurementScope:
    scope = MeasurementScope(leaving={repository})
    going = family
    if going is None:
        part = Budget(steps_left=budget.steps_left // 2)
        going = families.family(transaction, repository, chosen, part)
        budget.is_spent |= part.is_spent
    seen: set[Digest] = set()
    for digest in chosen:
        for size, one in _add_manifest(transaction, scope, repository, digest, seen, budget):
            scope.staying_manifest_bytes += 0 if one in going else size
    steps = Budget(steps_left=max(SCOPE_STEPS, budget.steps_left))
    scope.staying = {
        blob for blob in scope.blobs if _is_needed(transaction, repository, blob, going, steps)
    }
    budget.is_spent |= steps.is_spent
    return scope


def _add_manifest(
    transaction: ReadTransaction,
    scope: MeasurementScope,
    repository: RepositoryId,
    digest: Digest,
    seen: set[Digest],
    budget: Budget,
) -> Iterator[tuple[int, Digest]]:
    """Add a manifest and those of an index, as far as the budget goes. Yields the size in bytes and
    the digest of each.
    """
    todo = [digest]
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        if not budget.take(_MANIFEST_STEPS):
            return
        found = outlines.look(transaction, repository, one, budget)
        if found is None or found.outline is None:
            continue
        seen.add(one)
        outline = found.outline
        scope.manifests += 1
        scope.manifest_bytes += outline.manifest_size
        for blob in _blobs_of(transaction, repository, outline):
            if not budget.take():
                break
            scope.blobs[blob] = None
        # A child without budget for it is not worth its place in memory.
        todo += map(Digest.from_key, islice(outlines.split(outline.children), budget.steps_left))
        yield outline.manifest_size, one


def _is_needed(
    transaction: ReadTransaction,
    repository: RepositoryId,
    blob: Digest,
    going: Container[Digest],
    steps: Budget,
) -> bool:
    """Return True if a manifest outside of `going`, present or in the trash, refers to the blob, or
    if there are more references than steps.
    """
    prefix = links.link_key(repository, blob)
    for table in (REFERENCES, REFERENCES_DELETED):
        for key, _ in transaction.scan(table, prefix):
            if not steps.take() or Digest.from_key(key[len(prefix) :]) not in going:
                return True
    return False
