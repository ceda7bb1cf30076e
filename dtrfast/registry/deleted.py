"""Manifests in the trash, with their bytes and the actors that deleted them.

Functions over a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from dtrfast.errors import Corrupt
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFESTS_DELETED, number_key
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import read_manifest
from dtrfast.oci.names import Tag
from dtrfast.registry import keys, links, ownership, trash
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.ownership import ALL, UNKNOWN, Claim
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.writing import TargetRepository


class DeletedManifest(msgspec.Struct, frozen=True, array_like=True):
    """A manifest in the trash. `deleted_at` is in seconds since the epoch. `run` names the deletion
    that took it with others; empty for it alone. `stored` is its encoded `StoredManifest`.
    """

    version: int
    deleted_at: int
    deleted_by: str
    tags: tuple[str, ...]
    run: str
    stored: bytes
    owner: int = UNKNOWN  # the id of the account that owned the repository

    @property
    def manifest(self) -> StoredManifest:
        return StoredManifest.decode(self.stored)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(DeletedManifest)


def put(
    transaction: WriteTransaction,
    target: TargetRepository,
    digest: Digest,
    stored: StoredManifest,
    tags: Iterable[Tag],
    run: str,
) -> None:
    """Put a manifest that is being deleted into the trash."""
    author = target.author
    names = tuple(tag.text for tag in tags)
    record = DeletedManifest(
        version=1,
        deleted_at=author.now,
        deleted_by=author.actor,
        tags=names,
        run=run,
        stored=stored.encode(),
        owner=ownership.owner_of(transaction, target.name),
    )
    key = keys.manifest_key(target.id, digest)
    transaction.put(MANIFESTS_DELETED, key, _encoder.encode(record))
    trash.put(transaction, "manifest", key, author.now)


def get(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, claim: Claim = ALL
) -> DeletedManifest | None:
    """Return a manifest if it is in the trash and the claim covers it, else None."""
    data = transaction.get(MANIFESTS_DELETED, keys.manifest_key(repository, digest))
    record = None if data is None else _decode(data)
    if record is None or not claim.covers(record.owner, record.deleted_at):
        return None
    return record


def is_there(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> bool:
    """Return True if the manifest is in the trash."""
    key = keys.manifest_key(repository, digest)
    return any(True for _ in transaction.scan(MANIFESTS_DELETED, key, limit=1))


def of_repository(
    transaction: ReadTransaction,
    repository: RepositoryId,
    first: Digest | None = None,
    claim: Claim = ALL,
) -> Iterator[tuple[Digest, DeletedManifest]]:
    """Yield the manifests in a repository's trash from `first` on, in the order of their digests'
    keys.
    """
    prefix = number_key(repository)
    begin = None if first is None else keys.before_manifest(repository, first)
    for key, data in transaction.scan(MANIFESTS_DELETED, prefix, after=begin):
        record = _decode(data)
        if claim.covers(record.owner, record.deleted_at):
            yield keys.digest_in(key), record


def forget(transaction: WriteTransaction, repository: RepositoryId, digest: Digest) -> None:
    """Remove a manifest that is in the repository again from the trash."""
    key = keys.manifest_key(repository, digest)
    data = transaction.get(MANIFESTS_DELETED, key)
    if data is not None:
        transaction.delete(MANIFESTS_DELETED, key)
        trash.remove(transaction, "manifest", key, _decode(data).deleted_at)


def purge(transaction: WriteTransaction, key: bytes, deleted_at: int) -> None:
    """Delete a manifest for good, if it was put into the trash at that time."""
    data = transaction.get(MANIFESTS_DELETED, key)
    record = None if data is None else _decode(data)
    if record is None or record.deleted_at != deleted_at:
        return
    transaction.delete(MANIFESTS_DELETED, key)
    stored = record.manifest
    manifest = read_manifest(stored.body, stored.media_type)
    needs = (*manifest.referenced_blobs(), *manifest.children())
    repository, digest = keys.manifest_in(key)
    links.forget_references(transaction, repository, digest, needs)


def _decode(data: bytes) -> DeletedManifest:
    try:
        return _decoder.decode(data)
    except ValueError as error:
        raise Corrupt(f"a deleted manifest cannot be read ({error})") from error
