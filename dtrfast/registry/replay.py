"""Replay of the change log, which rebuilds the registry's tables: each change is applied again.

A change goes through the function that made it first, with the same time, actor and sequence
number. The records that these functions add to the change log are dropped, because the log has them
already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dtrfast.errors import DtrfastError
from dtrfast.index import counters
from dtrfast.index.changes import ChangeRecord
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import (
    CHANGES,
    MANIFESTS,
    META,
    PUBLIC,
    REPOSITORIES,
    REPOSITORY_NAMES,
    number_key,
)
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import read_manifest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import (
    deleted,
    keys,
    links,
    manifests,
    readmes,
    removal,
    repositories,
    statistics,
    tags,
)
from dtrfast.registry.records import (
    RepositoryRecord,
    StoredManifest,
    decode_repository,
    encode_repository,
)
from dtrfast.registry.writing import Author, TargetRepository

_SEQUENCE = b"change_sequence"


# The sizes in bytes of those blobs of some changes that the store has.
Sizes = Mapping[Digest, int]
Handler = Callable[[WriteTransaction, ChangeRecord, Sizes], None]


@dataclass(slots=True)
class LostBlobs:
    """Blobs that the log links and no file contains, as pairs of repository and digest."""

    blobs: set[tuple[str, str]] = field(default_factory=set)

    def follow(self, change: ChangeRecord, sizes: Sizes) -> None:
        """Update the set for a change that was applied."""
        blob = (change.repository, str(change.payload.get("digest")))
        if change.kind == "blob.link" and Digest.parse(blob[1]) not in sizes:
            self.blobs.add(blob)
        elif change.kind == "blob.unlink":
            self.blobs.discard(blob)
        elif change.kind == "repository.delete":
            self.blobs = {one for one in self.blobs if one[0] != change.repository}


def apply(transaction: WriteTransaction, change: ChangeRecord, sizes: Sizes) -> bool:
    """Apply a change of repositories. Returns False for a change of another kind. Raises
    `DtrfastError` if the change cannot be applied.
    """
    handler = _HANDLERS.get(change.kind)
    if handler is None:
        return False
    transaction.put(META, _SEQUENCE, number_key(change.sequence))
    handler(transaction, change, sizes)
    return True


def apply_batch(
    engine: Engine,
    batch: Sequence[ChangeRecord],
    sizes: Sizes,
    apply_first: Callable[[WriteTransaction, ChangeRecord], bool],
) -> set[int]:
    """Do some changes again, in one transaction. `apply_first` does those that it knows, and
    returns True for them. Returns the numbers of the changes that cannot be done.
    """

    def change_all(transaction: WriteTransaction) -> set[int]:
        failed = set()
        for change in batch:
            try:
                if not apply_first(transaction, change):
                    apply(transaction, change, sizes)
            except DtrfastError:
                failed.add(change.sequence)
        forget_records(transaction, batch[-1].sequence)
        return failed

    return engine.write(change_all)


def forget_records(transaction: WriteTransaction, last: int) -> None:
    """Drop the records that the replay added. Later changes are numbered after `last`."""
    for key, _ in list(transaction.scan(CHANGES)):
        transaction.delete(CHANGES, key)
    transaction.put(META, _SEQUENCE, number_key(last + 1))


def _author(change: ChangeRecord) -> Author:
    return Author(change.actor, change.time)


def _target(transaction: WriteTransaction, change: ChangeRecord) -> TargetRepository:
    name = RepositoryName(change.repository)
    return TargetRepository(repositories.get(transaction, name), name, _author(change))


def _create(transaction: WriteTransaction, change: ChangeRecord, sizes: Sizes) -> None:
    data = change.payload.get("record")
    if data is None:
        data = encode_repository(RepositoryRecord(1, change.payload["id"], change.time))
    if transaction.get(REPOSITORIES, change.repository.encode()) is None:
        statistics.add(transaction, repositories=1)
    _put_repository(transaction, change.repository, data)
    number = decode_repository(data).id
    if counters.last(transaction, META, b"repository_id") < number:
        transaction.put(META, b"repository_id", number_key(number + 1))


def _put_repository(transaction: WriteTransaction, name: str, data: bytes) -> None:
    record, key = decode_repository(data), name.encode()
    transaction.put(REPOSITORIES, key, data)
    transaction.put(REPOSITORY_NAMES, number_key(record.id), key)
    if record.is_public:
        transaction.put(PUBLIC, key, b"")
    else:
        transaction.delete(PUBLIC, key)


def _update(transaction: WriteTransaction, change: ChangeRecord, sizes: Sizes) -> None:
    data = change.payload["record"]
    _put_repository(transaction, change.repository, data)
    readme = change.payload.get("readme")
    if readme is not None:
        readmes.put(transaction, decode_repository(data).id, readme, None)


def _delete(transaction: WriteTransaction, change: ChangeRecord, sizes: Sizes) -> None:
    name, owner = RepositoryName(change.repository), change.payload.get("owner")
    removal.delete(transaction, name, _author(change), owner)


def _restore(transaction: WriteTransaction, change: ChangeRecord, sizes: Sizes) -> None:
    name = RepositoryName(change.repository)
    removal.restore(transaction, change.payload["id"], name, _author(change))


def _put_manifest(transaction: WriteTransaction, change: ChangeRecord, sizes: Sizes) -> None:
    target, digest = _target(transaction, change), Digest.parse(change.payload["digest"])
    stored = StoredManifest(change.payload["media_type"], change.payload["body"], change.time)
    is_new = transaction.get(MANIFESTS, keys.manifest_key(target.id, digest)) is None
    manifest = read_manifest(stored.body, stored.media_type)
    manifests.enter(transaction, target, digest, stored, manifest, is_new=is_new)


def _delete_manifest(transaction: WriteTransaction, change: ChangeRecord, sizes: Sizes) -> None:
    target, digest = _target(transaction, change), Digest.parse(change.payload["digest"])
    stored = manifests.stored_manifest(transaction, target.id, digest)
    if stored is not None:
        run = change.payload.get("run", "")
        manifests.remove(transaction, target, digest, stored, run)
        # Earlier changes of the log deleted its tags, so `remove` found none of them.
        names = [Tag(text) for text in change.payload.get("tags", "").split()]
        deleted.put(transaction, target, digest, stored, names, run)


def _set_tag(transaction: WriteTransaction, change: ChangeRecord, sizes: Sizes) -> None:
    digest = Digest.parse(change.payload["digest"])
    tags.put(transaction, _target(transaction, change), Tag(change.payload["tag"]), digest)


def _delete_tag(transaction: WriteTransaction, change: ChangeRecord, sizes: Sizes) -> None:
    target, tag = _target(transaction, change), Tag(change.payload["tag"])
    tags.remove(transaction, target, tag, change.payload.get("run", ""))


def _link(transaction: WriteTransaction, change: ChangeRecord, sizes: Sizes) -> None:
    target, digest = _target(transaction, change), Digest.parse(change.payload["digest"])
    size = sizes.get(digest)
    if size is not None:
        links.put(transaction, target, digest, size)


def _unlink(transaction: WriteTransaction, change: ChangeRecord, sizes: Sizes) -> None:
    if not change.repository:
        return  # a repository that left the trash has no name
    target, digest = _target(transaction, change), Digest.parse(change.payload["digest"])
    if links.get(transaction, target.id, digest) is not None:
        links.remove(transaction, target, digest)


_HANDLERS: dict[str, Handler] = {
    "repository.create": _create,
    "repository.update": _update,
    "repository.delete": _delete,
    "repository.restore": _restore,
    "manifest.put": _put_manifest,
    "manifest.delete": _delete_manifest,
    "tag.set": _set_tag,
    "tag.delete": _delete_tag,
    "blob.link": _link,
    "blob.unlink": _unlink,
}
