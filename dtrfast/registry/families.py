"""Families: the manifests that a deletion takes along, and the indexes that still need an image.

A deleted image takes along what only it keeps: the images of an index that no tag and nothing else
names. Functions over a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import MANIFESTS, REFERENCES
from dtrfast.oci.digests import Digest
from dtrfast.registry import keys, links, outlines, tags
from dtrfast.registry.budget import Budget
from dtrfast.registry.keys import RepositoryId

# Images of an index that are deleted with it. The others stay without a tag, and lists show them.
_FAMILY_MAX = 64
# Blobs and manifests that a family names together. Removing each takes some microseconds, in the
# transaction that removes the index.
_FAMILY_PARTS_MAX = 5_000
# Indexes that a family check reads, to find out if another one keeps an image.
_USERS_SEEN_MAX = 200
# Steps of the budget that it takes to find out if something else needs an image of an index.
_CHILD_STEPS = 4


def family(
    transaction: ReadTransaction,
    repository: RepositoryId,
    chosen: Iterable[Digest],
    budget: Budget,
) -> dict[Digest, None]:
    """Return the manifests that the deletion of the chosen ones takes along, and the chosen ones
    that exist. If the budget is too small, fewer go.
    """
    going = {one: None for one in chosen if is_there(transaction, repository, one)}
    for root in tuple(going):
        parts = 0
        found = _only_of(transaction, repository, root, going, budget)
        for one in islice(found, _FAMILY_MAX):
            parts += _parts(transaction, repository, one, budget)
            if parts > _FAMILY_PARTS_MAX:
                break
            going[one] = None
    return going


def _parts(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, budget: Budget
) -> int:
    """Return the number of things that a manifest names; if it is unknown, more than a family may
    name.
    """
    found = outlines.look(transaction, repository, digest, budget)
    if found is None or found.outline is None:
        return _FAMILY_PARTS_MAX + 1
    return found.outline.parts


def _only_of(
    transaction: ReadTransaction,
    repository: RepositoryId,
    root: Digest,
    going: dict[Digest, None],
    budget: Budget,
) -> Iterator[Digest]:
    """Return the manifests that only `root` and others in `going` keep. The caller adds each to
    `going` before it takes the next.
    """
    todo = [root]
    while todo:
        found = outlines.look(transaction, repository, todo.pop(), budget)
        if found is None or found.outline is None:
            continue
        for child in map(Digest.from_key, outlines.split(found.outline.children)):
            if child in going:
                continue
            if not budget.take(_CHILD_STEPS):
                return
            if _is_alone(transaction, repository, child, going):
                yield child
                todo.append(child)


def _is_alone(
    transaction: ReadTransaction,
    repository: RepositoryId,
    digest: Digest,
    going: dict[Digest, None],
) -> bool:
    """Return True for a manifest without a tag that no index outside of `going` names."""
    if not is_there(transaction, repository, digest):
        return False
    if any(True for _ in tags.tags_of(transaction, repository, digest)):
        return False
    found = users(transaction, repository, digest, _USERS_SEEN_MAX)
    return len(found) < _USERS_SEEN_MAX and all(user in going for user in found)


def users(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, limit: int
) -> list[Digest]:
    """Return up to `limit` indexes of the repository that name the manifest."""
    prefix = links.link_key(repository, digest)
    rows = transaction.scan(REFERENCES, prefix, limit=limit)
    return [Digest.from_key(key[len(prefix) :]) for key, _ in rows]


def is_only_in(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, index: Digest
) -> bool:
    """Return True if the deletion of the index takes the manifest, or the blob of a build cache."""
    if not is_there(transaction, repository, digest):
        return users(transaction, repository, digest, 2) == [index]
    return _is_alone(transaction, repository, digest, {index: None})


def is_there(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> bool:
    """Return True if the repository has the manifest, outside of its trash."""
    return digest in present(transaction, repository, [digest])


def present(
    transaction: ReadTransaction, repository: RepositoryId, digests: Iterable[Digest]
) -> set[Digest]:
    """Return those of many manifests that the repository has, outside of its trash. Their bytes are
    not read.
    """
    unique = list(dict.fromkeys(digests))
    rows = [keys.manifest_key(repository, digest) for digest in unique]
    found = zip(unique, transaction.begun(MANIFESTS, rows), strict=True)
    return {digest for digest, is_present in found if is_present}
