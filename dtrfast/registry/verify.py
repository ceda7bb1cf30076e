"""Whether the registry's rows fit each other, and manifests their digests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from dtrfast.errors import DtrfastError
from dtrfast.index.engine import Engine, ReadTransaction
from dtrfast.index.tables import (
    HOLDERS,
    LINKS,
    MANIFEST_TAGS,
    MANIFESTS,
    NUMBER_SIZE,
    REPOSITORIES_DELETED,
    REPOSITORIES_TRASHED,
    REPOSITORY_NAMES,
    TAGS,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.registry import keys, statistics
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.links import Link
from dtrfast.registry.records import StoredManifest, TagRecord

_PAGE = 1000
# Gets the subject of the check, the rows done, and the rows to do, or 0.
Progress = Callable[[str, int, int], None]
Tell = Callable[[str], object]

# Of some contents, the sizes of those that are there.
Sizes = Callable[[Iterable[Digest]], Mapping[Digest, int]]


def verify(engine: Engine, sizes: Sizes, progress: Progress, tell: Tell) -> None:
    """Tell what does not fit."""
    with engine.read() as transaction:
        for finding in _findings(transaction, progress):
            tell(finding)
    _verify_links(engine, sizes, tell)


def _findings(transaction: ReadTransaction, progress: Progress) -> Iterator[str]:
    """Of one snapshot, which outlives the iteration."""
    yield from _manifests(transaction, progress)
    yield from _tags(transaction, progress)
    yield from _links(transaction, progress)
    yield from _holders(transaction)


def _verify_links(engine: Engine, sizes: Sizes, tell: Tell) -> None:
    """Check that the content of each link is there."""
    after: bytes | None = None
    while keys := _links_after(engine, after):
        after = keys[-1]
        for key in _without_content(keys, sizes):
            # Looked at again: it may have been unlinked and freed between the two answers.
            if _is_linked(engine, key) and _without_content([key], sizes):
                tell(f"repository {number_of(key)} holds {_digest_of(key)}, which is not there")


def _links_after(engine: Engine, after: bytes | None) -> list[bytes]:
    with engine.read() as transaction:
        return [key for key, _ in transaction.scan(LINKS, after=after, limit=_PAGE)]


def _without_content(keys: list[bytes], sizes: Sizes) -> list[bytes]:
    found = sizes(_digest_of(key) for key in keys)
    return [key for key in keys if _digest_of(key) not in found]


def _is_linked(engine: Engine, key: bytes) -> bool:
    with engine.read() as transaction:
        return transaction.get(LINKS, key) is not None


def _digest_of(link_key: bytes) -> Digest:
    return Digest.from_key(link_key[NUMBER_SIZE:])


def _links(transaction: ReadTransaction, progress: Progress) -> Iterator[str]:
    """Links are found from both sides, and counted."""
    count = size = 0
    are_sizes_known = True
    for count, (key, value) in enumerate(transaction.scan(LINKS), 1):
        if count % 10_000 == 0:
            progress("links", count, 0)
        try:
            one = Link.decode(value).size
        except DtrfastError as error:
            yield f"the link of repository {number_of(key)} to {_digest_of(key)}: {error}"
            one = None
        size += one or 0
        are_sizes_known &= one is not None  # those of older versions have none
        if transaction.get(HOLDERS, key[NUMBER_SIZE:] + key[:NUMBER_SIZE]) is None:
            yield f"{_digest_of(key)} does not know that repository {number_of(key)} holds it"
    said = statistics.read(transaction)
    if said.links != count:
        yield f"links are {count}, and {said.links} are counted"
    if are_sizes_known and said.linked_bytes != size:
        yield f"linked_bytes are {size}, and {said.linked_bytes} are counted"
    progress("links", count, count)


def _holders(transaction: ReadTransaction) -> Iterator[str]:
    for key, _ in transaction.scan(HOLDERS):
        digest, repository = key[:-NUMBER_SIZE], key[-NUMBER_SIZE:]
        if transaction.get(LINKS, repository + digest) is None:
            holder = f"repository {number_of(repository)}"
            yield f"{holder} is said to hold {Digest.from_key(digest)}, and does not"


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
