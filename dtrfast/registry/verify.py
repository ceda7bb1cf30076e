"""Whether the registry's rows fit each other, and manifests their digests."""

from __future__ import annotations

from collections.abc import Iterator

from dtrfast.errors import DtrfastError
from dtrfast.index.engine import Engine, ReadTransaction
from dtrfast.index.tables import (
    MANIFEST_TAGS,
    MANIFESTS,
    REPOSITORIES_DELETED,
    REPOSITORIES_TRASHED,
    REPOSITORY_NAMES,
    TAGS,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.registry import keys
from dtrfast.registry.records import StoredManifest, TagRecord
from dtrfast.store.blobs import RepositoryId
from dtrfast.store.verify import Progress


def verify(engine: Engine, progress: Progress) -> Iterator[str]:
    """What does not fit, a sentence each. Reads one snapshot."""
    with engine.read() as transaction:
        yield from _manifests(transaction, progress)
        yield from _tags(transaction, progress)


def _manifests(transaction: ReadTransaction, progress: Progress) -> Iterator[str]:
    count = 0
    for count, (key, value) in enumerate(transaction.scan(MANIFESTS), 1):
        digest = Digest.from_key(key[8:])
        try:
            stored = StoredManifest.decode(value)
        except DtrfastError as error:
            yield f"the manifest {digest}: {error}"
            continue
        if Digest.of_bytes(stored.body, digest.algorithm) != digest:
            yield f"the manifest {digest} has other bytes: push it again"
        if not _is_known(transaction, key[:8]):
            yield f"the manifest {digest} is of repository {number_of(key)}, which is not there"
        if count % 10_000 == 0:
            progress("manifests", count, 0)
    progress("manifests", count, count)


def _is_known(transaction: ReadTransaction, repository: bytes) -> bool:
    tables = (REPOSITORY_NAMES, REPOSITORIES_TRASHED, REPOSITORIES_DELETED)
    return any(transaction.get(table, repository) is not None for table in tables)


def _tags(transaction: ReadTransaction, progress: Progress) -> Iterator[str]:
    count = 0
    for key, value in transaction.scan(TAGS):
        count += 1
        repository, tag = RepositoryId(number_of(key)), keys.tag_of(key)
        digest = TagRecord.decode(value).digest
        if transaction.get(MANIFESTS, keys.manifest_key(repository, digest)) is None:
            yield f"the tag {tag} of repository {repository} points at {digest}, which is gone"
        back = keys.manifest_tag_key(repository, digest, tag)
        if transaction.get(MANIFEST_TAGS, back) is None:
            yield f"the manifest {digest} does not know its tag {tag}"
    progress("tags", count, count)
