"""Tags: names for manifests, and the way back from a manifest to its tags."""

from __future__ import annotations

from collections.abc import Iterator

from dtrfast.errors import ManifestUnknown
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFEST_TAGS, TAGS, number_key, number_of
from dtrfast.oci.conditions import UNCONDITIONAL, Conditions
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import history, keys, pulls, repositories, statistics, untagged
from dtrfast.registry.holdings import Change, Holdings
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.pages import Page
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.records import TagRecord
from dtrfast.registry.writing import Author, Place


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


def rows(
    transaction: ReadTransaction, repository: RepositoryId, after: str = ""
) -> Iterator[tuple[str, bytes]]:
    """The tags of a repository by name, with their records encoded: a list decodes what it shows.
    `after` is a name that a client sent.
    """
    prefix = number_key(repository)
    found = transaction.scan(TAGS, prefix, after=keys.after_tag(repository, after))
    return ((keys.tag_of(key), data) for key, data in found)


def names(transaction: ReadTransaction, repository: RepositoryId) -> Iterator[str]:
    """The tags of a repository, by name."""
    found = transaction.scan(TAGS, number_key(repository))
    return (keys.tag_of(key) for key, _ in found)


def newest(transaction: ReadTransaction) -> Iterator[tuple[RepositoryId, str]]:
    """The tags of all repositories, those of the newest repositories first."""
    found = transaction.scan(TAGS, reverse=True)
    return ((RepositoryId(number_of(key)), keys.tag_of(key)) for key, _ in found)


def tags_of(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest
) -> Iterator[Tag]:
    """The tags that point at the manifest, by name."""
    prefix = keys.manifest_key(repository, digest)
    for key, _ in transaction.scan(MANIFEST_TAGS, prefix):
        yield Tag(key[len(prefix) :].decode())


def delete(transaction: WriteTransaction, change: Change, tag: Tag) -> None:
    """See `Holdings.delete_tag`."""
    change.permits.check(transaction, Action.DELETE, change.name)
    repository = repositories.find(transaction, change.name)
    if repository is None:
        raise ManifestUnknown(f"there is no tag {tag} in {change.name}")
    found = get(transaction, repository, change.name, tag)
    change.conditions.check_change(found.digest)
    remove(transaction, Place(repository, change.name, change.author), tag)


class Tags:
    """The tags of a registry's repositories, for one caller."""

    def __init__(self, holdings: Holdings, permits: Permits) -> None:
        self._holdings = holdings
        self._permits = permits

    def page(self, name: RepositoryName, count: int, last: str = "") -> Page[str]:
        """Up to `count` tags greater than `last`. Raises `RepositoryUnknown`."""
        return self._holdings.tags(self._permits, name, count, last)

    def delete(
        self,
        name: RepositoryName,
        tag: Tag,
        author: Author,
        conditions: Conditions = UNCONDITIONAL,
    ) -> None:
        """Remove a tag; its manifest stays. Raises `ManifestUnknown`, `PreconditionFailed`."""
        self._holdings.delete_tag(Change(self._permits, name, author, conditions), tag)
