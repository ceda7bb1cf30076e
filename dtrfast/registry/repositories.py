"""Repositories: their numbers, and the catalog.

A repository comes into being with the first thing in it, and is listed while it holds something.
Its number is never used again.
"""

from __future__ import annotations

from functools import partial

from dtrfast.errors import RepositoryUnknown
from dtrfast.index import changes, counters
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import CATALOG, META, REPOSITORIES, REPOSITORY_NAMES, number_key
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import keys, statistics
from dtrfast.registry.pages import Page, cut
from dtrfast.registry.records import RepositoryRecord, decode_repository, encode_repository
from dtrfast.registry.writing import Author
from dtrfast.store.blobs import RepositoryId


def find(transaction: ReadTransaction, name: RepositoryName) -> RepositoryId | None:
    """The repository's number; None when nobody has pushed to it yet."""
    data = transaction.get(REPOSITORIES, name.text.encode())
    return None if data is None else RepositoryId(decode_repository(data).id)


def get(transaction: ReadTransaction, name: RepositoryName) -> RepositoryId:
    """The repository's number. Raises `RepositoryUnknown`."""
    repository = find(transaction, name)
    if repository is None:
        raise RepositoryUnknown(f"there is no repository {name}")
    return repository


def ensure(transaction: WriteTransaction, name: RepositoryName, author: Author) -> RepositoryId:
    """The repository's number; makes the repository if it is not there."""
    repository = find(transaction, name)
    if repository is None:
        repository = _create(transaction, name, author)
    return repository


class Catalog:
    """The repositories of a registry, as a whole."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, count: int, last: str = "") -> Page[str]:
        """Up to `count` names greater than `last`."""
        with self._engine.read() as transaction:
            rows = transaction.scan(CATALOG, after=keys.after_name(last), limit=count + 1)
            return cut((name.decode() for name, _ in rows), count)

    def find(self, name: RepositoryName) -> RepositoryId | None:
        with self._engine.read() as transaction:
            return find(transaction, name)

    def ensure(self, name: RepositoryName, author: Author) -> RepositoryId:
        """The repository's number; a write only where it is new."""
        found = self.find(name)
        if found is not None:
            return found
        return self._engine.write(partial(ensure, name=name, author=author))


def _create(transaction: WriteTransaction, name: RepositoryName, author: Author) -> RepositoryId:
    number = counters.take(transaction, META, b"repository_id")
    key = name.text.encode()
    record = RepositoryRecord(version=1, id=number, created_at=author.now)
    transaction.put(REPOSITORIES, key, encode_repository(record))
    transaction.put(REPOSITORY_NAMES, number_key(number), key)
    statistics.add(transaction, repositories=1)
    changes.record(
        transaction,
        "repository.create",
        time=author.now,
        actor=author.actor,
        repository=name.text,
        payload={"id": number},
    )
    return RepositoryId(number)
