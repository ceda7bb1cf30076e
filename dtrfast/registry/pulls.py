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
from dtrfast.registry.keys import RepositoryId

# A pull within this time of the last one that was written is not written.
_FRESH_SECONDS = 300
# Rows of one transaction: pushes wait for it.
_BATCH_MAX = 500
_TAG = b"t"
_MANIFEST = b"m"

# Repository name and reference → seconds since the epoch.
Seen = Mapping[tuple[str, str], int]
_Pull = tuple[tuple[str, str], int]


def of_tag(transaction: ReadTransaction, repository: RepositoryId, tag: str) -> int:
    """Seconds since the epoch; 0: never, or not known."""
    return _read(transaction, number_key(repository) + _TAG + tag.encode())


def of_manifest(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> int:
    """Seconds since the epoch; 0: never by its digest, or not known."""
    return _read(transaction, number_key(repository) + _MANIFEST + digest.key())


def note(engine: Engine, seen: Seen) -> None:
    """Write down pulls that were seen."""
    with engine.read() as transaction:
        due = [one for one in seen.items() if _due(transaction, *one) is not None]
    for first in range(0, len(due), _BATCH_MAX):
        batch = due[first : first + _BATCH_MAX]

        def put(transaction: WriteTransaction, batch: list[_Pull] = batch) -> None:
            for what, at in batch:
                # Once more: what went since then must not leave a row.
                key = _due(transaction, what, at)
                if key is not None:
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


def _due(transaction: ReadTransaction, what: tuple[str, str], at: int) -> bytes | None:
    """The key of a pull that is to be written: None where a row says so already, or nothing is."""
    key = _key(transaction, *what)
    # Either way: a row may be of a clock that was ahead.
    if key is None or abs(at - _read(transaction, key)) < _FRESH_SECONDS:
        return None
    return key


def _key(transaction: ReadTransaction, name: str, text: str) -> bytes | None:
    """The key of what is there."""
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
