"""Blobs in the index: digest to content, content to recipe. Functions over a transaction."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import msgspec

from dtrfast.errors import BlobUnknown, Corrupt
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    BLOBS,
    CONTENTS,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
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


def sizes(transaction: ReadTransaction, digests: Iterable[Digest]) -> dict[Digest, int]:
    """The sizes of those contents that are there, damaged or not."""
    found = {}
    for digest in digests:
        # One whose record is gone is as one that is not there.
        with suppress(Corrupt):
            one = find(transaction, digest)
            if one is not None:
                found[digest] = one.content.size
    return found


def get(transaction: ReadTransaction, digest: Digest) -> Found:
    """The content with this digest. Raises `BlobUnknown`, also where it is known to be damaged: a
    client that is told so pushes it again, which heals it.
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


def own_names(transaction: ReadTransaction, number: bytes) -> list[Digest]:
    """The names that find a content: not those that a later one took over, as it was damaged."""
    data = transaction.get(CONTENTS, number)
    names = [] if data is None else digests(decode_content(data))
    return [digest for digest in names if transaction.get(BLOBS, digest.key()) == number]
