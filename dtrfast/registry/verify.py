"""A check of the registry's rows against each other, and of manifests against their digests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from dtrfast.errors import DtrfastError
from dtrfast.index.engine import Engine, ReadTransaction
from dtrfast.index.tables import (
    HOLDERS,
    LINKS,
    MANIFEST_TAGS,
    MANIFESTS,
    REPOSITORIES_DELETED,
    REPOSITORIES_TRASHED,
    REPOSITORY_NAMES,
    TAGS,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.registry import keys, links, statistics
from dtrfast.registry.keys import RepositoryId, digest_in, manifest_in
from dtrfast.registry.links import Link
from dtrfast.registry.records import StoredManifest, TagRecord

_PAGE = 1000
# Gets the subject of the check, the number of rows done, and that of all rows, or 0 if unknown.
Progress = Callable[[str, int, int], None]
Tell = Callable[[str], object]

# Returns the sizes in bytes of those blobs that the store has.
Sizes = Callable[[Iterable[Digest]], Mapping[Digest, int]]


def verify(engine: Engine, sizes: Sizes, progress: Progress, tell: Tell) -> None:
    """Call `tell` with a sentence for each fault."""
    with engine.read() as transaction:
        for check in (_check_manifests, _check_tags, _check_links, _check_holders):
            for fault in check(transaction, progress):
                tell(fault)
    _check_content(engine, sizes, tell)


def _check_content(engine: Engine, sizes: Sizes, tell: Tell) -> None:
    """Check that the store has the content of each link."""
    link_keys = [b""]
    while link_keys:
        with engine.read() as transaction:
            rows = transaction.scan(LINKS, after=link_keys[-1], limit=_PAGE)
            link_keys = [key for key, _ in rows]
        for key in _without_content(link_keys, sizes):
            # Checked again: the blob may have been unlinked and freed between the two look-ups.
            with engine.read() as transaction:
                is_linked = transaction.get(LINKS, key) is not None
            if is_linked and _without_content([key], sizes):
                tell(f"repository {number_of(key)} holds {digest_in(key)} without content")


def _without_content(keys: list[bytes], sizes: Sizes) -> list[bytes]:
    """Return the keys of links whose content the store does not have."""
    found = sizes(map(digest_in, keys))
    return [key for key in keys if digest_in(key) not in found]


def _check_links(transaction: ReadTransaction, progress: Progress) -> Iterator[str]:
    """Check that each link is among the holders of its blob, and that the counters are right."""
    count = size = 0
    are_sizes_known = True
    for count, (key, value) in enumerate(transaction.scan(LINKS), 1):
        if count % 10_000 == 0:
            progress("links", count, 0)
        try:
            one = Link.decode(value).size
        except DtrfastError as error:
            yield f"the link of repository {number_of(key)} to {digest_in(key)}: {error}"
            one = None
        size += one or 0
        are_sizes_known &= one is not None  # links that older versions wrote have none
        repository, digest = manifest_in(key)
        if transaction.get(HOLDERS, links.holder_key(digest, repository)) is None:
            yield f"the holders of {digest} lack repository {repository}"
    counted = statistics.read(transaction)
    if counted.links != count:
        yield f"there are {count} links, but {counted.links} are counted"
    if are_sizes_known and counted.linked_bytes != size:
        yield f"the links have {size} bytes, but {counted.linked_bytes} are counted"
    progress("links", count, count)


def _check_holders(transaction: ReadTransaction, progress: Progress) -> Iterator[str]:
    """Check that each holder of a blob has a link to it."""
    for key, _ in transaction.scan(HOLDERS):
        digest, repository = links.holder_in(key)
        if transaction.get(LINKS, links.link_key(repository, digest)) is None:
            yield f"the holders of {digest} include repository {repository}, which lacks the link"


def _check_manifests(transaction: ReadTransaction, progress: Progress) -> Iterator[str]:
    count = 0
    for count, (key, value) in enumerate(transaction.scan(MANIFESTS), 1):
        repository, digest = manifest_in(key)
        try:
            stored = StoredManifest.decode(value)
        except DtrfastError as error:
            yield f"the manifest {digest}: {error}"
            continue
        if Digest.of_bytes(stored.body, digest.algorithm) != digest:
            yield f"the manifest {digest} has bytes with another digest: push it again"
        if not _is_known(transaction, number_key(repository)):
            yield f"the manifest {digest} is in repository {repository}, which does not exist"
        if count % 10_000 == 0:
            progress("manifests", count, 0)
    progress("manifests", count, count)


def _is_known(transaction: ReadTransaction, repository: bytes) -> bool:
    """Return True for a repository that exists, or was deleted and still has rows."""
    tables = (REPOSITORY_NAMES, REPOSITORIES_TRASHED, REPOSITORIES_DELETED)
    return any(transaction.get(table, repository) is not None for table in tables)


def _check_tags(transaction: ReadTransaction, progress: Progress) -> Iterator[str]:
    count = 0
    for key, value in transaction.scan(TAGS):
        count += 1
        repository, tag = RepositoryId(number_of(key)), keys.tag_of(key)
        digest = TagRecord.decode(value).digest
        if transaction.get(MANIFESTS, keys.manifest_key(repository, digest)) is None:
            yield f"the tag {tag} of repository {repository} points at {digest}, which is missing"
        back = keys.manifest_tag_key(repository, digest, tag)
        if transaction.get(MANIFEST_TAGS, back) is None:
            yield f"the tags of manifest {digest} in repository {repository} lack {tag}"
    progress("tags", count, count)
