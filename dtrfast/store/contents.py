"""Contents in the index, and the digests that name them. Functions over a transaction."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import msgspec

from dtrfast.errors import BlobUnknown, Corrupt, FormatUnknown
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    BLOBS,
    CONTENTS,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import statistics
from dtrfast.store.records import Content, decode_content, encode


class NumberedContent(msgspec.Struct, frozen=True, gc=False):
    """A content and its number."""

    number: int
    content: Content


def find(transaction: ReadTransaction, digest: Digest) -> NumberedContent | None:
    """Return the content with this digest, or None. Raises `Corrupt`, `FormatUnknown`."""
    number = transaction.get(BLOBS, digest.key())
    if number is None:
        return None
    data = transaction.get(CONTENTS, number)
    if data is None:
        raise Corrupt(f"the index has {digest} without its content: run `dtrfast repair`")
    return NumberedContent(number_of(number), decode_content(data))


def sizes(transaction: ReadTransaction, digests: Iterable[Digest]) -> dict[Digest, int]:
    """Return the sizes of the contents that exist, damaged or not."""
    found = {}
    for digest in digests:
        # A content whose record is gone or cannot be read counts as missing.
        with suppress(Corrupt, FormatUnknown):
            one = find(transaction, digest)
            if one is not None:
                found[digest] = one.content.size
    return found


def get(transaction: ReadTransaction, digest: Digest) -> NumberedContent:
    """Return the content with this digest.

    Raises `BlobUnknown`, also for damaged content: then the client pushes it again, which heals it.
    """
    found = find(transaction, digest)
    if found is None:
        raise unknown(digest)
    if found.content.damaged_at:
        raise BlobUnknown("the blob is damaged: push it again", detail={"digest": str(digest)})
    return found


def unknown(digest: Digest) -> BlobUnknown:
    return BlobUnknown("there is no such blob", detail={"digest": str(digest)})


def digests(content: Content) -> list[Digest]:
    """Return all names of a content."""
    names = [Digest("sha256", content.sha256)]
    if content.sha512 is not None:
        names.append(Digest("sha512", content.sha512))
    return names


def put(transaction: WriteTransaction, number: int, content: Content) -> None:
    """Index a content under all its names, and count it."""
    transaction.put(CONTENTS, number_key(number), encode(content))
    for digest in digests(content):
        transaction.put(BLOBS, digest.key(), number_key(number))
    count = {f"{content.kind}_blobs": 1, f"{content.kind}_bytes": content.size}
    statistics.add(transaction, **count)


def name(transaction: WriteTransaction, found: NumberedContent, digest: Digest) -> None:
    """Make `digest` a name of the content, too."""
    if transaction.get(BLOBS, digest.key()) is None:
        transaction.put(BLOBS, digest.key(), number_key(found.number))
    if digest.algorithm == "sha512" and found.content.sha512 is None:
        content = msgspec.structs.replace(found.content, sha512=digest.raw)
        transaction.put(CONTENTS, number_key(found.number), encode(content))


def own_names(transaction: ReadTransaction, number: bytes) -> list[Digest]:
    """Return the names that lead to a content. A push that heals it moves them to a new content."""
    data = transaction.get(CONTENTS, number)
    names = [] if data is None else digests(decode_content(data))
    return [digest for digest in names if transaction.get(BLOBS, digest.key()) == number]
