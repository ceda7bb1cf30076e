"""The last pulls of tags and manifests.

They are written in batches, apart from the pulls, and at most once in five minutes for each. Users
read these rows, and nothing depends on them: some may be lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFESTS, PULLS, TAGS, number_key
from dtrfast.oci.digests import Digest, parse_reference
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import keys, repositories
from dtrfast.registry.keys import RepositoryId

# A pull within this time of the last written one is not written.
_FRESH_SECONDS = 300
# Rows that one transaction writes, as pushes wait for it.
_BATCH_MAX = 500
_TAG = b"t"
_MANIFEST = b"m"

# Repository name and reference → seconds since the epoch.
Seen = Mapping[tuple[str, str], int]
_Pull = tuple[tuple[str, str], int]


def of_tags(
    transaction: ReadTransaction, repository: RepositoryId, tags: Sequence[tuple[str, Digest]]
) -> list[int]:
    """Return the last pull of each tag with its digest, in seconds since the epoch; 0 if unknown.

    Docker resolves a tag and then pulls the digest, so a pull of either is a pull of the tag.
    """
    prefix = number_key(repository)
    pairs = [(prefix + _TAG + t.encode(), prefix + _MANIFEST + d.key()) for t, d in tags]
    found = transaction.get_many(PULLS, sorted({key for pair in pairs for key in pair}))
    return [max(int.from_bytes(found.get(key, b""), "big") for key in pair) for pair in pairs]


def of_manifest(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> int:
    """Return the last pull by digest, in seconds since the epoch; 0 if unknown."""
    return _read(transaction, number_key(repository) + _MANIFEST + digest.key())


def note(engine: Engine, seen: Seen) -> None:
    """Write the times of pulls."""
    with engine.read() as transaction:
        due = [one for one in seen.items() if _due(transaction, *one) is not None]
    for first in range(0, len(due), _BATCH_MAX):
        batch = due[first : first + _BATCH_MAX]

        def put(transaction: WriteTransaction, batch: list[_Pull] = batch) -> None:
            for what, at in batch:
                # Checked again: a tag that was deleted meanwhile must not leave a row.
                key = _due(transaction, what, at)
                if key is not None:
                    transaction.put(PULLS, key, at.to_bytes(8, "big"))

        engine.write(put)


def forget_tag(transaction: WriteTransaction, repository: RepositoryId, tag: str) -> None:
    """Delete the row of a tag that is being deleted."""
    transaction.delete(PULLS, number_key(repository) + _TAG + tag.encode())


def forget_manifest(
    transaction: WriteTransaction, repository: RepositoryId, digest: Digest
) -> None:
    """Delete the row of a manifest that is being deleted."""
    transaction.delete(PULLS, number_key(repository) + _MANIFEST + digest.key())


def _due(transaction: ReadTransaction, what: tuple[str, str], at: int) -> bytes | None:
    """Return the key of a pull to write; None if its row is fresh, or if the tag does not exist."""
    key = _key(transaction, *what)
    # In both directions: the clock may have been ahead when the row was written.
    if key is None or abs(at - _read(transaction, key)) < _FRESH_SECONDS:
        return None
    return key


def _key(transaction: ReadTransaction, name: str, text: str) -> bytes | None:
    """Return the key of a tag or a manifest; None if it does not exist."""
    repository = repositories.find(transaction, RepositoryName(name))
    if repository is None:
        return None
    reference = parse_reference(text)
    if isinstance(reference, Tag):
        is_there = transaction.get(TAGS, keys.tag_key(repository, reference.text)) is not None
        return number_key(repository) + _TAG + reference.text.encode() if is_there else None
    is_there = transaction.get(MANIFESTS, keys.manifest_key(repository, reference)) is not None
    return number_key(repository) + _MANIFEST + reference.key() if is_there else None


def _read(transaction: ReadTransaction, key: bytes) -> int:
    data = transaction.get(PULLS, key)
    return 0 if data is None else int.from_bytes(data, "big")
