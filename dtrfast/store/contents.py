"""Blobs in the index: digest to content, content to recipe, and who holds it. Functions over a
transaction.
"""

from __future__ import annotations

import msgspec

from dtrfast.errors import BlobUnknown, Corrupt
from dtrfast.index import changes
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    BLOBS,
    CONTENTS,
    CONTENTS_UNLINKED,
    HOLDERS,
    REPOSITORY_NAMES,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import links, statistics
from dtrfast.store.blobs import RepositoryId
from dtrfast.store.links import Link
from dtrfast.store.records import Content, decode_content, encode


class Found(msgspec.Struct, frozen=True, gc=False):
    """A content and its number."""

    number: int
    content: Content


def find(transaction: ReadTransaction, digest: Digest) -> Found | None:
    """The content with this digest, whoever holds it."""
    number = transaction.get(BLOBS, digest.key())
    if number is None:
        return None
    data = transaction.get(CONTENTS, number)
    if data is None:
        raise Corrupt(f"the index names {digest}, but not what it is: repair the index")
    return Found(number_of(number), decode_content(data))


def get_link(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> Link:
    """The link. Raises `BlobUnknown` when the repository does not hold the blob."""
    link = links.get(transaction, repository, digest)
    if link is None:
        raise unknown(digest)
    return link


def get(transaction: ReadTransaction, digest: Digest) -> Found:
    """The content of a blob that some repository holds. Raises `BlobUnknown` for one that is known
    to be damaged: a client that is told so pushes it again, which heals it.
    """
    found = find(transaction, digest)
    if found is None:
        raise Corrupt(f"a repository holds {digest}, but the store does not: push it again")
    if found.content.damaged_at:
        raise BlobUnknown("the blob is damaged: push it again", detail={"digest": str(digest)})
    return found


def find_linked(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> Found:
    """The content, if the repository holds it. Raises `BlobUnknown`."""
    get_link(transaction, repository, digest)
    return get(transaction, digest)


def unknown(digest: Digest) -> BlobUnknown:
    return BlobUnknown("no such blob in this repository", detail={"digest": str(digest)})


def digests(content: Content) -> list[Digest]:
    """All names of a content."""
    names = [Digest("sha256", content.sha256)]
    if content.sha512 is not None:
        names.append(Digest("sha512", content.sha512))
    return names


def name(transaction: WriteTransaction, found: Found, digest: Digest) -> None:
    """Let `digest` be a name of the content, too."""
    if transaction.get(BLOBS, digest.key()) is None:
        transaction.put(BLOBS, digest.key(), number_key(found.number))
    if digest.algorithm == "sha512" and found.content.sha512 is None:
        content = msgspec.structs.replace(found.content, sha512=digest.raw)
        transaction.put(CONTENTS, number_key(found.number), encode(content))


def is_held(transaction: ReadTransaction, found: Found) -> bool:
    """Whether any repository holds it, under a name that is still its own."""
    number = number_key(found.number)
    return any(
        transaction.get(BLOBS, digest.key()) == number
        for digest in digests(found.content)
        for _ in transaction.scan(HOLDERS, digest.key(), limit=1)
    )


def link(
    transaction: WriteTransaction, repository: RepositoryId, digest: Digest, size: int, now: int
) -> None:
    """Give the repository the blob; renew its grace where it has it. Recorded in the change log."""
    if links.put(transaction, repository, digest, now):
        statistics.add(transaction, links=1, linked_bytes=size)
        _record(transaction, "blob.link", repository, digest, now)


def unlink(
    transaction: WriteTransaction, repository: RepositoryId, digest: Digest, now: int
) -> None:
    """Take the blob from the repository. Raises `BlobUnknown`. The last one leaves it to the
    reclaim.
    """
    get_link(transaction, repository, digest)
    found = find(transaction, digest)  # None if it was lost, and the index was repaired
    size = 0 if found is None else found.content.size
    links.remove(transaction, repository, digest)
    statistics.add(transaction, links=-1, linked_bytes=-size)
    _record(transaction, "blob.unlink", repository, digest, now)
    if found is not None and not is_held(transaction, found):
        transaction.put(CONTENTS_UNLINKED, number_key(found.number), number_key(now))


def _record(
    transaction: WriteTransaction,
    kind: changes.Kind,
    repository: RepositoryId,
    digest: Digest,
    now: int,
) -> None:
    repository_name = transaction.get(REPOSITORY_NAMES, number_key(repository)) or b""
    changes.record(
        transaction,
        kind,
        time=now,
        actor="anonymous",
        repository=repository_name.decode(),
        payload={"digest": str(digest)},
    )
