"""Tags: names for manifests, and the way back from a manifest to its tags."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dtrfast.errors import ManifestUnknown, RepositoryUnknown
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFEST_TAGS, TAGS, number_key
from dtrfast.oci.conditions import UNCONDITIONAL, Conditions
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import history, keys, pulls, repositories, statistics, untagged
from dtrfast.registry.pages import Page, cut
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.records import TagRecord
from dtrfast.registry.writing import Author, Place
from dtrfast.store import catalog
from dtrfast.store.blobs import RepositoryId


def resolve(transaction: ReadTransaction, repository: RepositoryId, tag: Tag) -> TagRecord | None:
    """Where the tag points; None when there is no such tag."""
    data = transaction.get(TAGS, keys.tag_key(repository, tag.text))
    return None if data is None else TagRecord.decode(data)


def get(
    transaction: ReadTransaction, repository: RepositoryId, name: RepositoryName, tag: Tag
) -> TagRecord:
    """Where the tag points. Raises `ManifestUnknown`."""
    record = resolve(transaction, repository, tag)
    if record is None:
        raise ManifestUnknown(f"there is no tag {tag} in {name}")
    return record


def put(transaction: WriteTransaction, place: Place, tag: Tag, digest: Digest) -> None:
    """Point the tag at a manifest of the repository, which the caller has seen there."""
    old = resolve(transaction, place.id, tag)
    if old is None:
        statistics.add(transaction, tags=1)
    elif old.digest != digest:
        transaction.delete(MANIFEST_TAGS, keys.manifest_tag_key(place.id, old.digest, tag.text))
    record = TagRecord(digest, place.author.now, place.author.actor)
    transaction.put(TAGS, keys.tag_key(place.id, tag.text), record.encode())
    transaction.put(MANIFEST_TAGS, keys.manifest_tag_key(place.id, digest, tag.text), b"")
    sequence = place.record(
        transaction,
        "tag.set",
        {
            "tag": tag.text,
            "digest": str(digest),
            "previous": None if old is None else str(old.digest),
        },
    )
    if old is not None and old.digest != digest:
        history.put(transaction, place, tag, old, sequence, "moved")
        untagged.note(transaction, place, old.digest)


def remove(transaction: WriteTransaction, place: Place, tag: Tag, run: str = "") -> bool:
    """Remove the tag and nothing else; False if there was none. It can be restored. `run` names
    what deleted it together with others.
    """
    old = resolve(transaction, place.id, tag)
    if old is None:
        return False
    transaction.delete(TAGS, keys.tag_key(place.id, tag.text))
    transaction.delete(MANIFEST_TAGS, keys.manifest_tag_key(place.id, old.digest, tag.text))
    pulls.forget_tag(transaction, place.id, tag.text)
    statistics.add(transaction, tags=-1)
    payload: dict[str, str | int | bytes | None] = {
        "tag": tag.text,
        "digest": str(old.digest),
        "run": run,
    }
    sequence = place.record(transaction, "tag.delete", payload)
    history.put(transaction, place, tag, old, sequence, "deleted", run)
    untagged.note(transaction, place, old.digest)
    return True


def tags_of(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest
) -> Iterator[Tag]:
    """The tags that point at the manifest, by name."""
    prefix = keys.manifest_key(repository, digest)
    for key, _ in transaction.scan(MANIFEST_TAGS, prefix):
        yield Tag(key[len(prefix) :].decode())


class Tags:
    """The tags of a registry's repositories."""

    def __init__(self, engine: Engine, permits: Permits) -> None:
        self._engine = engine
        self._permits = permits

    def page(self, name: RepositoryName, count: int, last: str = "") -> Page[str]:
        """Up to `count` tags greater than `last`. Raises `RepositoryUnknown`."""
        with self._engine.read() as transaction:
            self._permits.check(transaction, Action.PULL, name)
            repository = repositories.get(transaction, name)
            if not catalog.holds_something(transaction, repository):
                raise RepositoryUnknown(f"there is no repository {name}")
            after = keys.after_tag(repository, last)
            rows = transaction.scan(TAGS, number_key(repository), after=after, limit=count + 1)
            return cut((keys.tag_of(key) for key, _ in rows), count)

    def delete(
        self,
        name: RepositoryName,
        tag: Tag,
        author: Author,
        conditions: Conditions = UNCONDITIONAL,
    ) -> None:
        """Remove a tag; its manifest stays. Raises `ManifestUnknown`, `PreconditionFailed`."""
        change = partial(
            _delete,
            name=name,
            tag=tag,
            author=author,
            permits=self._permits,
            conditions=conditions,
        )
        self._engine.write(change)


def _delete(
    transaction: WriteTransaction,
    name: RepositoryName,
    tag: Tag,
    author: Author,
    permits: Permits,
    conditions: Conditions,
) -> None:
    permits.check(transaction, Action.DELETE, name)
    repository = repositories.find(transaction, name)
    if repository is None:
        raise ManifestUnknown(f"there is no tag {tag} in {name}")
    conditions.check_change(get(transaction, repository, name, tag).digest)
    remove(transaction, Place(repository, name, author), tag)
