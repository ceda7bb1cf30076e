"""Repositories: their numbers, and the catalog.

A repository comes into being with the first thing in it, or because somebody asks for it. The
catalog lists it while it holds something. Its number is never used again.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dtrfast.errors import RepositoryUnknown
from dtrfast.index import changes, epoch
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    META,
    PUBLIC,
    REPOSITORIES,
    REPOSITORY_NAMES,
    number_key,
)
from dtrfast.oci import characters
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import readmes, statistics
from dtrfast.registry.holdings import Holdings
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.pages import Page
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.readmes import Rendering
from dtrfast.registry.records import RepositoryRecord, decode_repository, encode_repository
from dtrfast.registry.writing import Author


def find(transaction: ReadTransaction, name: RepositoryName) -> RepositoryId | None:
    """The repository's number; None when it is not there."""
    found = record(transaction, name)
    return None if found is None else RepositoryId(found.id)


def record(transaction: ReadTransaction, name: RepositoryName) -> RepositoryRecord | None:
    """What is known of the repository; None when it is not there."""
    data = transaction.get(REPOSITORIES, name.text.encode())
    return None if data is None else decode_repository(data)


def get(transaction: ReadTransaction, name: RepositoryName) -> RepositoryId:
    """The repository's number. Raises `RepositoryUnknown`."""
    repository = find(transaction, name)
    if repository is None:
        raise RepositoryUnknown(f"there is no repository {name}")
    return repository


def name_of(transaction: ReadTransaction, repository: int) -> RepositoryName | None:
    """The name of the repository with a number; None if it is not there, or in the trash."""
    data = transaction.get(REPOSITORY_NAMES, number_key(repository))
    return None if data is None else RepositoryName(data.decode())


def names_after(transaction: ReadTransaction, after: str, limit: int) -> list[str]:
    """Names behind one, in order."""
    found = transaction.scan(REPOSITORIES, after=after.encode(), limit=limit)
    return [key.decode() for key, _ in found]


def names_of(transaction: ReadTransaction, owner: str) -> Iterator[str]:
    """The repositories that belong to an account, in order: first the one of its own name."""
    if transaction.get(REPOSITORIES, owner.encode()) is not None:
        yield owner
    for key, _ in transaction.scan(REPOSITORIES, f"{owner}/".encode()):
        yield key.decode()


def ensure(
    transaction: WriteTransaction, name: RepositoryName, author: Author, permits: Permits
) -> RepositoryId:
    """The number of a repository to push to; makes the repository if it is not there.

    The caller has checked that this may be done.
    """
    repository = find(transaction, name)
    if repository is None:
        is_public = permits.makes_public(transaction)
        repository = create(transaction, name, author, is_public=is_public)
    return repository


class Catalog:
    """The repositories of a registry, as a whole, for one caller."""

    def __init__(self, holdings: Holdings, permits: Permits) -> None:
        self._holdings = holdings
        self._permits = permits

    def page(self, count: int, last: str = "") -> Page[str]:
        """See `Holdings.catalog`."""
        return self._holdings.catalog(self._permits, count, last)

    def check(self, name: RepositoryName, action: Action) -> None:
        """Return if the caller may do that there; raises what `Permits.check` does."""
        self._holdings.check(self._permits, action, name)


def create(
    transaction: WriteTransaction,
    name: RepositoryName,
    author: Author,
    *,
    is_public: bool = False,
    description: str = "",
) -> RepositoryId:
    """Make a repository that is not there. Verdicts on its name end with that."""
    number = transaction.take(META, b"repository_id")
    key = name.text.encode()
    record = RepositoryRecord(1, number, author.now, description, is_public)
    transaction.put(REPOSITORIES, key, encode_repository(record))
    transaction.put(REPOSITORY_NAMES, number_key(number), key)
    if is_public:
        transaction.put(PUBLIC, key, b"")
    epoch.advance(transaction)
    statistics.add(transaction, repositories=1)
    changes.record(
        transaction,
        "repository.create",
        time=author.now,
        actor=author.actor,
        repository=name.text,
        payload={"record": encode_repository(record)},
    )
    return RepositoryId(number)


def update(  # noqa: PLR0913 - what may change
    transaction: WriteTransaction,
    name: RepositoryName,
    author: Author,
    *,
    description: str | None = None,
    readme: str | None = None,
    rendering: Rendering | None = None,
    is_public: bool | None = None,
) -> RepositoryRecord:
    """Change what is said of a repository, and whether everybody may pull from it. None: stays.
    `rendering` is that of the README; without it the housekeeper renders it.

    A README is kept without characters that mislead its readers. Raises `RepositoryUnknown`.
    """
    number = get(transaction, name)
    old = record(transaction, name)
    readme = None if readme is None else characters.cleaned_lines(readme)
    assert old is not None
    new = msgspec.structs.replace(
        old,
        description=old.description if description is None else description,
        is_public=old.is_public if is_public is None else is_public,
    )
    key = name.text.encode()
    transaction.put(REPOSITORIES, key, encode_repository(new))
    if new.is_public:
        transaction.put(PUBLIC, key, b"")
    else:
        transaction.delete(PUBLIC, key)
    if readme is not None:
        readmes.put(transaction, number, readme, rendering)
    epoch.advance(transaction)
    changes.record(
        transaction,
        "repository.update",
        time=author.now,
        actor=author.actor,
        repository=name.text,
        payload={"record": encode_repository(new), "readme": readme},
    )
    return new
