"""Tags: names for manifests, and the look-up of a manifest's tags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dtrfast.errors import ManifestUnknown
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFEST_TAGS, TAGS, number_key, number_of
from dtrfast.oci.conditions import UNCONDITIONAL, Conditions
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import (
    keys,
    listing,
    pulls,
    referrers,
    repositories,
    statistics,
    tag_history,
    untagged,
)
from dtrfast.registry.holdings import ChangeRequest, Holdings
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.listing import Listing, ListRequest
from dtrfast.registry.pages import Page
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.records import NamedTag, TagRecord
from dtrfast.registry.writing import Author, TargetRepository

_REFERRERS_MAX = 100


def resolve(transaction: ReadTransaction, repository: RepositoryId, tag: Tag) -> TagRecord | None:
    """Return the record of a tag; None if the tag does not exist."""
    data = transaction.get(TAGS, keys.tag_key(repository, tag.text))
    return None if data is None else TagRecord.decode(data)


def get(
    transaction: ReadTransaction, repository: RepositoryId, name: RepositoryName, tag: Tag
) -> TagRecord:
    """Return the record of a tag. Raises `ManifestUnknown`."""
    record = resolve(transaction, repository, tag)
    if record is None:
        raise ManifestUnknown(f"there is no tag {tag} in {name}")
    return record


def records(
    transaction: ReadTransaction, repository: RepositoryId, names: Iterable[str]
) -> dict[str, TagRecord]:
    """Return the records of the tags that exist, by name."""
    rows = sorted(keys.tag_key(repository, name) for name in names)
    found = transaction.get_many(TAGS, rows)
    return {keys.tag_of(key): TagRecord.decode(data) for key, data in found.items()}


def put(transaction: WriteTransaction, target: TargetRepository, tag: Tag, digest: Digest) -> None:
    """Point the tag at a manifest. The caller has checked that the repository has the manifest."""
    old = resolve(transaction, target.id, tag)
    if old is None:
        statistics.add(transaction, tags=1)
    elif old.digest != digest:
        transaction.delete(MANIFEST_TAGS, keys.manifest_tag_key(target.id, old.digest, tag.text))
    transaction.put(MANIFEST_TAGS, keys.manifest_tag_key(target.id, digest, tag.text), b"")
    sequence = target.record(
        transaction,
        "tag.set",
        {
            "tag": tag.text,
            "digest": str(digest),
            "previous": None if old is None else str(old.digest),
        },
    )
    record = TagRecord(digest, target.author.now, target.author.actor, sequence)
    transaction.put(TAGS, keys.tag_key(target.id, tag.text), record.encode())
    if old is not None and old.digest != digest:
        tag_history.put(transaction, target, tag, old, sequence, "moved")
        untagged.note(transaction, target, old.digest)


def remove(
    transaction: WriteTransaction, target: TargetRepository, tag: Tag, run: str = ""
) -> bool:
    """Put the tag into the trash, without its manifest. Returns False if it did not exist. `run`
    names the deletion that takes it with others; empty for it alone.
    """
    old = resolve(transaction, target.id, tag)
    if old is None:
        return False
    transaction.delete(TAGS, keys.tag_key(target.id, tag.text))
    transaction.delete(MANIFEST_TAGS, keys.manifest_tag_key(target.id, old.digest, tag.text))
    pulls.forget_tag(transaction, target.id, tag.text)
    statistics.add(transaction, tags=-1)
    payload: dict[str, str | int | bytes | None] = {
        "tag": tag.text,
        "digest": str(old.digest),
        "run": run,
    }
    sequence = target.record(transaction, "tag.delete", payload)
    tag_history.put(transaction, target, tag, old, sequence, "deleted", run)
    untagged.note(transaction, target, old.digest)
    return True


def rows(
    transaction: ReadTransaction, repository: RepositoryId, after: str = ""
) -> Iterator[tuple[str, bytes]]:
    """Return the tags of a repository by name, with encoded records: a list decodes those of its
    page only. `after` is a name that a client sent.
    """
    prefix = number_key(repository)
    found = transaction.scan(TAGS, prefix, after=keys.after_tag(repository, after))
    return ((keys.tag_of(key), data) for key, data in found)


def names(transaction: ReadTransaction, repository: RepositoryId) -> Iterator[str]:
    """Return the tags of a repository, by name."""
    found = transaction.scan(TAGS, number_key(repository))
    return (keys.tag_of(key) for key, _ in found)


def newest(transaction: ReadTransaction) -> Iterator[tuple[RepositoryId, str]]:
    """Return the tags of all repositories, those of the newest repositories first."""
    found = transaction.scan(TAGS, reverse=True)
    return ((RepositoryId(number_of(key)), keys.tag_of(key)) for key, _ in found)


def tags_of(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest
) -> Iterator[Tag]:
    """Return the tags that point at the manifest, by name."""
    prefix = keys.manifest_key(repository, digest)
    for key, _ in transaction.scan(MANIFEST_TAGS, prefix):
        yield Tag(key[len(prefix) :].decode())


def delete(transaction: WriteTransaction, change: ChangeRequest, tag: Tag) -> None:
    """See `Holdings.delete_tag`."""
    change.permits.check(transaction, Action.DELETE, change.name)
    repository = repositories.find(transaction, change.name)
    if repository is None:
        raise ManifestUnknown(f"there is no tag {tag} in {change.name}")
    found = get(transaction, repository, change.name, tag)
    change.conditions.check_change(found.digest)
    remove(transaction, TargetRepository(repository, change.name, change.author), tag)


class Tags:
    """The tags of a registry's repositories, for one caller."""

    def __init__(self, engine: Engine, holdings: Holdings, permits: Permits) -> None:
        self._engine = engine
        self._holdings = holdings
        self._permits = permits

    def page(self, name: RepositoryName, count: int, last: str = "") -> Page[str]:
        """Return up to `count` tags greater than `last`. Raises `RepositoryUnknown`."""
        return self._holdings.tags(self._permits, name, count, last)

    def records(self, name: RepositoryName, request: ListRequest) -> Listing[NamedTag]:
        """Return a page of tags by name, with their records. Raises `RepositoryUnknown`."""
        with self._engine.read() as transaction:
            number = repositories.require(transaction, self._permits, name, Action.PULL)
            found = rows(transaction, number, request.after)
            page = listing.take(found, request, lambda row: row[0])
        return page.map(lambda row: NamedTag(row[0], TagRecord.decode(row[1])))

    def referrers(self, name: RepositoryName, tag: Tag) -> tuple[Digest, list[Digest]]:
        """Return the digest that a tag points at, and the manifests that have it as their subject,
        up to a hundred. Raises `ManifestUnknown`, `RepositoryUnknown`.
        """
        with self._engine.read() as transaction:
            number = repositories.require(transaction, self._permits, name, Action.PULL)
            digest = get(transaction, number, name, tag).digest
            return digest, referrers.digests_of(transaction, number, digest, _REFERRERS_MAX)

    def delete(
        self,
        name: RepositoryName,
        tag: Tag,
        author: Author,
        conditions: Conditions = UNCONDITIONAL,
    ) -> None:
        """Remove a tag; its manifest stays. Raises `ManifestUnknown`, `PreconditionFailed`."""
        self._holdings.delete_tag(ChangeRequest(self._permits, name, author, conditions), tag)
