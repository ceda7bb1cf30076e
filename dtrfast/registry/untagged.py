"""Manifests without a tag, which a policy may put into the trash after some days.

A manifest is noted, with the time, when it is pushed without a tag, or loses a tag, an index or its
subject. After the days of the policy the note is settled: the manifest stays if it has a tag, if an
index names it, or if its subject exists. If it loses that later, it is noted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFEST_TAGS, MANIFESTS, MANIFESTS_UNTAGGED, number_key
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import read_manifest
from dtrfast.registry import keys, links
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.writing import TargetRepository


def note(transaction: WriteTransaction, target: TargetRepository, digest: Digest) -> None:
    """Note a manifest that may have no use from now on. Does nothing for one that has a tag."""
    if not _has_tag(transaction, target.id, digest):
        key = keys.manifest_key(target.id, digest)
        transaction.put(MANIFESTS_UNTAGGED, number_key(target.author.now) + key, b"")


def note_all(
    transaction: WriteTransaction, target: TargetRepository, digests: Iterable[Digest]
) -> None:
    """Note those of many manifests that have no tag."""
    found = sorted(keys.manifest_key(target.id, digest) for digest in digests)
    tagged = zip(found, transaction.begun(MANIFEST_TAGS, found), strict=True)
    now = number_key(target.author.now)
    rows = [(now + key, b"") for key, is_tagged in tagged if not is_tagged]
    transaction.put_all(MANIFESTS_UNTAGGED, rows)


def due(transaction: ReadTransaction, before: int, limit: int) -> list[bytes]:
    """Return up to `limit` notes from before a time, in seconds since the epoch."""
    end = number_key(max(0, before))
    rows = transaction.scan(MANIFESTS_UNTAGGED, limit=limit)
    return [key for key, _ in takewhile(lambda row: row[0] < end, rows)]


def settle(transaction: WriteTransaction, note_key: bytes) -> tuple[RepositoryId, Digest] | None:
    """Delete a note. Returns the manifest if nothing keeps it, else None."""
    transaction.delete(MANIFESTS_UNTAGGED, note_key)
    repository, digest = keys.manifest_in(keys.noted_key(note_key))
    data = transaction.get(MANIFESTS, keys.manifest_key(repository, digest))
    if data is None or is_kept(transaction, repository, digest, data):
        return None
    return repository, digest


def is_kept(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, data: bytes
) -> bool:
    """Return True if the manifest has a tag, if an index names it, or if its subject exists. `data`
    is its record.
    """
    if is_named(transaction, repository, digest):
        return True
    stored = StoredManifest.decode(data)
    subject = read_manifest(stored.body, stored.media_type).subject
    if subject is None:
        return False
    return transaction.get(MANIFESTS, keys.manifest_key(repository, subject.digest)) is not None


def is_named(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> bool:
    """Return True if the manifest has a tag, or if an index names it."""
    is_tagged = _has_tag(transaction, repository, digest)
    return is_tagged or links.is_referenced(transaction, repository, digest)


def of_repository(
    transaction: ReadTransaction, repository: RepositoryId, after: bytes | None = None
) -> Iterator[tuple[Digest, StoredManifest]]:
    """Yield the manifests of a repository that nothing keeps, in the order of their keys."""
    prefix = number_key(repository)
    for key, data in transaction.scan(MANIFESTS, prefix, after=after):
        digest = keys.digest_in(key)
        if not is_kept(transaction, repository, digest, data):
            yield digest, StoredManifest.decode(data)


def _has_tag(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> bool:
    prefix = keys.manifest_key(repository, digest)
    return any(True for _ in transaction.scan(MANIFEST_TAGS, prefix, limit=1))
