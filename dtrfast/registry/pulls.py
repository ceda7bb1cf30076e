"""When tags and manifests were last pulled. Written in batches, off the way of pulls, and at most
once in some minutes for each: these rows are for people, and lost ones do not matter.
"""

from __future__ import annotations

from collections.abc import Mapping

from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFESTS, PULLS, TAGS, number_key
from dtrfast.oci.digests import Digest, parse_reference
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import keys, repositories
from dtrfast.store.blobs import RepositoryId

# A pull within this time of the last one that was written is not written.
_FRESH_SECONDS = 300
# Rows of one transaction: pushes wait for it.
_BATCH_MAX = 500
_TAG = b"t"
_MANIFEST = b"m"

# Repository name and reference → seconds since the epoch.
Seen = Mapping[tuple[str, str], int]


def of_tag(transaction: ReadTransaction, repository: RepositoryId, tag: str) -> int:
    """Seconds since the epoch; 0: never, or not known."""
    return _read(transaction, number_key(repository) + _TAG + tag.encode())


def of_manifest(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> int:
    """Seconds since the epoch; 0: never by its digest, or not known."""
    return _read(transaction, number_key(repository) + _MANIFEST + digest.key())


def note(engine: Engine, seen: Seen) -> None:
    """Write down pulls that were seen."""
    with engine.read() as transaction:
        rows = [(key, at) for key, at in _rows(transaction, seen) if _is_due(transaction, key, at)]
    for first in range(0, len(rows), _BATCH_MAX):
        batch = rows[first : first + _BATCH_MAX]

        def put(transaction: WriteTransaction, batch: list[tuple[bytes, int]] = batch) -> None:
            for key, at in batch:
                transaction.put(PULLS, key, at.to_bytes(8, "big"))

        engine.write(put)


def forget_tag(transaction: WriteTransaction, repository: RepositoryId, tag: str) -> None:
    """The tag is gone."""
    transaction.delete(PULLS, number_key(repository) + _TAG + tag.encode())


def forget_manifest(
    transaction: WriteTransaction, repository: RepositoryId, digest: Digest
) -> None:
    """The manifest is gone."""
    transaction.delete(PULLS, number_key(repository) + _MANIFEST + digest.key())


def _rows(transaction: ReadTransaction, seen: Seen) -> list[tuple[bytes, int]]:
    """Keys of what is there."""
    found: list[tuple[bytes, int]] = []
    for (name, text), at in seen.items():
        repository = repositories.find(transaction, RepositoryName(name))
        if repository is None:
            continue
        reference = parse_reference(text)
        if isinstance(reference, Tag):
            if transaction.get(TAGS, keys.tag_key(repository, reference.text)) is not None:
                found.append((number_key(repository) + _TAG + reference.text.encode(), at))
        elif transaction.get(MANIFESTS, keys.manifest_key(repository, reference)) is not None:
            found.append((number_key(repository) + _MANIFEST + reference.key(), at))
    return found


def _is_due(transaction: ReadTransaction, key: bytes, at: int) -> bool:
    return at - _read(transaction, key) >= _FRESH_SECONDS


def _read(transaction: ReadTransaction, key: bytes) -> int:
    data = transaction.get(PULLS, key)
    return 0 if data is None else int.from_bytes(data, "big")
