"""Making the registry's tables again from the change log: each change is done once more.

Changes go through the functions that made them, with their time, actor and number. What they record
of themselves is dropped: the log has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dtrfast.index import counters
from dtrfast.index.changes import Change
from dtrfast.index.engine import WriteTransaction
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
from dtrfast.registry.writing import Author, Place

_SEQUENCE = b"change_sequence"


# The sizes of the blobs that are there, of those that some changes speak of.
Sizes = Mapping[Digest, int]
Handler = Callable[[WriteTransaction, Change, Sizes], None]


@dataclass(slots=True)
class Lost:
    """Blobs that the log speaks of and no file holds, by repository and digest."""

    blobs: set[tuple[str, str]] = field(default_factory=set)

    def follow(self, change: Change, sizes: Sizes) -> None:
        """Note what a change means for them, once it is done again."""
        blob = (change.repository, str(change.payload.get("digest")))
        if change.kind == "blob.link" and Digest.parse(blob[1]) not in sizes:
            self.blobs.add(blob)
        elif change.kind == "blob.unlink":
            self.blobs.discard(blob)
        elif change.kind == "repository.delete":
            self.blobs = {one for one in self.blobs if one[0] != change.repository}


def apply(transaction: WriteTransaction, change: Change, sizes: Sizes) -> bool:
    """Do a change of repositories again; False if it is of another kind. Raises `DtrfastError` if
    it cannot be done.
    """
    handler = _HANDLERS.get(change.kind)
    if handler is None:
        return False
    transaction.put(META, _SEQUENCE, number_key(change.sequence))
    handler(transaction, change, sizes)
    return True


def forget_records(transaction: WriteTransaction, last: int) -> None:
    """Drop what the changes recorded; new ones are numbered after `last`."""
    for key, _ in list(transaction.scan(CHANGES)):
        transaction.delete(CHANGES, key)
    transaction.put(META, _SEQUENCE, number_key(last + 1))


def _author(change: Change) -> Author:
    return Author(change.actor, change.time)


def _place(transaction: WriteTransaction, change: Change) -> Place:
    name = RepositoryName(change.repository)
    return Place(repositories.get(transaction, name), name, _author(change))


def _create(transaction: WriteTransaction, change: Change, sizes: Sizes) -> None:
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


def _update(transaction: WriteTransaction, change: Change, sizes: Sizes) -> None:
    data = change.payload["record"]
    _put_repository(transaction, change.repository, data)
    readme = change.payload.get("readme")
    if readme is not None:
        readmes.put(transaction, decode_repository(data).id, readme, None)


def _delete(transaction: WriteTransaction, change: Change, sizes: Sizes) -> None:
    name, owner = RepositoryName(change.repository), change.payload.get("owner")
    removal.delete(transaction, name, _author(change), owner)


def _restore(transaction: WriteTransaction, change: Change, sizes: Sizes) -> None:
    name = RepositoryName(change.repository)
    removal.restore(transaction, change.payload["id"], name, _author(change))


def _put_manifest(transaction: WriteTransaction, change: Change, sizes: Sizes) -> None:
    place, digest = _place(transaction, change), Digest.parse(change.payload["digest"])
    stored = StoredManifest(change.payload["media_type"], change.payload["body"], change.time)
    is_new = transaction.get(MANIFESTS, keys.manifest_key(place.id, digest)) is None
    manifest = read_manifest(stored.body, stored.media_type)
    manifests.enter(transaction, place, digest, stored, manifest, is_new=is_new)


def _delete_manifest(transaction: WriteTransaction, change: Change, sizes: Sizes) -> None:
    place, digest = _place(transaction, change), Digest.parse(change.payload["digest"])
    stored = manifests.stored_manifest(transaction, place.id, digest)
    if stored is not None:
        run = change.payload.get("run", "")
        manifests.remove(transaction, place, digest, stored, run)
        # Each of its tags was deleted by a change of its own.
        names = [Tag(text) for text in change.payload.get("tags", "").split()]
        deleted.put(transaction, place, digest, stored, names, run)


def _set_tag(transaction: WriteTransaction, change: Change, sizes: Sizes) -> None:
    digest = Digest.parse(change.payload["digest"])
    tags.put(transaction, _place(transaction, change), Tag(change.payload["tag"]), digest)


def _delete_tag(transaction: WriteTransaction, change: Change, sizes: Sizes) -> None:
    place, tag = _place(transaction, change), Tag(change.payload["tag"])
    tags.remove(transaction, place, tag, change.payload.get("run", ""))


def _link(transaction: WriteTransaction, change: Change, sizes: Sizes) -> None:
    place, digest = _place(transaction, change), Digest.parse(change.payload["digest"])
    size = sizes.get(digest)
    if size is not None:
        links.put(transaction, place, digest, size)


def _unlink(transaction: WriteTransaction, change: Change, sizes: Sizes) -> None:
    if not change.repository:
        return  # of a repository that left the trash
    place, digest = _place(transaction, change), Digest.parse(change.payload["digest"])
    if links.get(transaction, place.id, digest) is not None:
        links.remove(transaction, place, digest)


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
