"""Manifests without a tag, which a policy may delete after some days (to the trash).

Every manifest that may have lost what it was kept for is noted with the time. When its days are
over it is looked at: one that has a tag again, that an index holds, or whose subject is there
stays; if it loses that later it is noted anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFEST_TAGS, MANIFESTS, MANIFESTS_UNTAGGED, number_key, number_of
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import read_manifest
from dtrfast.registry import keys, links
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.writing import Place


def note(transaction: WriteTransaction, place: Place, digest: Digest) -> None:
    """The manifest may be of no use from now on. Costs nothing where it has another tag."""
    if not _has_tag(transaction, place.id, digest):
        key = keys.manifest_key(place.id, digest)
        transaction.put(MANIFESTS_UNTAGGED, number_key(place.author.now) + key, b"")


def note_all(transaction: WriteTransaction, place: Place, digests: Iterable[Digest]) -> None:
    """Note many manifests."""
    found = sorted(keys.manifest_key(place.id, digest) for digest in digests)
    tagged = zip(found, transaction.begun(MANIFEST_TAGS, found), strict=True)
    now = number_key(place.author.now)
    rows = [(now + key, b"") for key, is_tagged in tagged if not is_tagged]
    transaction.put_all(MANIFESTS_UNTAGGED, rows)


def due(transaction: ReadTransaction, before: int, limit: int) -> list[bytes]:
    """Up to `limit` notes that were made before that time."""
    end = number_key(max(0, before))
    rows = transaction.scan(MANIFESTS_UNTAGGED, limit=limit)
    return [key for key, _ in takewhile(lambda row: row[0] < end, rows)]


def settle(transaction: WriteTransaction, note_key: bytes) -> tuple[RepositoryId, Digest] | None:
    """Drop a note; returns the manifest if nothing keeps it."""
    transaction.delete(MANIFESTS_UNTAGGED, note_key)
    repository = RepositoryId(number_of(note_key[8:]))
    digest = Digest.from_key(note_key[16:])
    data = transaction.get(MANIFESTS, keys.manifest_key(repository, digest))
    if data is None or is_kept(transaction, repository, digest, data):
        return None
    return repository, digest


def is_kept(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, data: bytes
) -> bool:
    """Whether a manifest of this record has a tag, an index, or a subject that is there."""
    if is_named(transaction, repository, digest):
        return True
    stored = StoredManifest.decode(data)
    subject = read_manifest(stored.body, stored.media_type).subject
    if subject is None:
        return False
    return transaction.get(MANIFESTS, keys.manifest_key(repository, subject.digest)) is not None


def is_named(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> bool:
    """True if the manifest has a tag, or an index."""
    is_tagged = _has_tag(transaction, repository, digest)
    return is_tagged or links.is_referenced(transaction, repository, digest)


def of_repository(
    transaction: ReadTransaction, repository: RepositoryId, after: bytes | None = None
) -> Iterator[tuple[Digest, StoredManifest]]:
    """Manifests of a repository that nothing keeps, in the order of their digests' keys."""
    prefix = number_key(repository)
    for key, data in transaction.scan(MANIFESTS, prefix, after=after):
        digest = Digest.from_key(key[len(prefix) :])
        if not is_kept(transaction, repository, digest, data):
            yield digest, StoredManifest.decode(data)


def _has_tag(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> bool:
    prefix = keys.manifest_key(repository, digest)
    return any(True for _ in transaction.scan(MANIFEST_TAGS, prefix, limit=1))
