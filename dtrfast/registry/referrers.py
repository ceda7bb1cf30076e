"""Referrers: manifests that name another manifest as their subject. The subject need not exist."""

from __future__ import annotations

import msgspec

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import REFERRERS
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import Manifest, referrer_descriptor
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import keys
from dtrfast.registry.holdings import Holdings, ReferrersPage
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.permits import Permits

# A page is an image index, and clients read no more than 4 MiB of an index.
_PAGE_BYTES_MAX = 2 << 20
# Rows that one request reads, as a filter may pass over many without showing one.
_PAGE_ROWS_MAX = 10_000


class _ArtifactType(msgspec.Struct):
    artifactType: str | None = None


_decoder = msgspec.json.Decoder(_ArtifactType)


def put(
    transaction: WriteTransaction,
    repository: RepositoryId,
    digest: Digest,
    manifest: Manifest,
    size: int,
) -> None:
    """Add the manifest to the referrers of its subject, if it has one."""
    if manifest.subject is not None:
        key = keys.referrer_key(repository, manifest.subject.digest, digest)
        transaction.put(REFERRERS, key, referrer_descriptor(manifest, digest, size))


def remove(
    transaction: WriteTransaction,
    repository: RepositoryId,
    digest: Digest,
    subject: Digest | None,
) -> None:
    """Remove the manifest from the referrers of its subject, if it has one."""
    if subject is not None:
        key = keys.referrer_key(repository, subject, digest)
        transaction.delete(REFERRERS, key)


class Referrers:
    """The referrers of a registry's manifests, for one caller."""

    def __init__(self, holdings: Holdings, permits: Permits) -> None:
        self._holdings = holdings
        self._permits = permits

    def page(
        self,
        name: RepositoryName,
        subject: Digest,
        artifact_type: str | None = None,
        last: Digest | None = None,
    ) -> ReferrersPage:
        """See `Holdings.referrers`."""
        return self._holdings.referrers(self._permits, name, subject, artifact_type, last)


def page(
    transaction: ReadTransaction,
    repository: RepositoryId,
    subject: Digest,
    artifact_type: str | None,
    last: Digest | None,
) -> ReferrersPage:
    """See `Holdings.referrers`."""
    prefix = keys.manifest_key(repository, subject)
    after = None if last is None else prefix + last.key()
    entries: list[bytes] = []
    size = 0
    last = None
    for count, (key, descriptor) in enumerate(transaction.scan(REFERRERS, prefix, after=after)):
        if count == _PAGE_ROWS_MAX or (entries and size + len(descriptor) > _PAGE_BYTES_MAX):
            return ReferrersPage(entries, last)
        last = keys.referrer_of(key)
        if artifact_type is None or _decoder.decode(descriptor).artifactType == artifact_type:
            entries.append(descriptor)
            size += len(descriptor)
    return ReferrersPage(entries, None)


def digests_of(
    transaction: ReadTransaction, repository: RepositoryId, subject: Digest, limit: int
) -> list[Digest]:
    """Return up to `limit` manifests that have this subject."""
    rows = transaction.scan(REFERRERS, keys.manifest_key(repository, subject), limit=limit)
    return [keys.referrer_of(key) for key, _ in rows]
