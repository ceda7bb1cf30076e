"""Repositories: their numbers, names and records.

The first push into a repository creates it, or a request of a user does. The catalog lists it while
it holds something. Its number is never used again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dtrfast.errors import RepositoryUnknown
from dtrfast.index import changes, epoch
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
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
from dtrfast.registry.readmes import RenderedReadme
from dtrfast.registry.records import (
    RepositoryChange,
    RepositoryRecord,
    decode_repository,
    encode_repository,
)
from dtrfast.registry.writing import Author

NO_CHANGE = RepositoryChange()


def find(transaction: ReadTransaction, name: RepositoryName) -> RepositoryId | None:
    """Return the repository's number; None if it does not exist."""
    found = record(transaction, name)
    return None if found is None else RepositoryId(found.id)


def record(transaction: ReadTransaction, name: RepositoryName) -> RepositoryRecord | None:
    """Return the repository's record; None if it does not exist."""
    data = transaction.get(REPOSITORIES, name.text.encode())
    return None if data is None else decode_repository(data)


def records(
    transaction: ReadTransaction, names: Iterable[RepositoryName]
) -> dict[str, RepositoryRecord]:
    """Return the records of the repositories that exist, by name."""
    keys = [name.text.encode() for name in names]
    found = transaction.get_many(REPOSITORIES, keys)
    return {key.decode(): decode_repository(data) for key, data in found.items()}


def get(transaction: ReadTransaction, name: RepositoryName) -> RepositoryId:
    """Return the repository's number. Raises `RepositoryUnknown`."""
    repository = find(transaction, name)
    if repository is None:
        raise RepositoryUnknown(f"there is no repository {name}")
    return repository


def require(
    transaction: ReadTransaction, permits: Permits, name: RepositoryName, action: Action
) -> RepositoryId:
    """Return the id of a repository that the caller may see and use in this way.

    A missing repository is `RepositoryUnknown` for every action; none of them creates it. Raises
    what `Permits.check` does.
    """
    permits.check(transaction, Action.PULL, name)
    number = get(transaction, name)
    if action is not Action.PULL:
        permits.check(transaction, action, name)
    return number


def name_of(transaction: ReadTransaction, repository: int) -> RepositoryName | None:
    """Return the name of the repository with a number; None if it does not exist or is in the
    trash.
    """
    data = transaction.get(REPOSITORY_NAMES, number_key(repository))
    return None if data is None else RepositoryName(data.decode())


def read_names(engine: Engine, after: str, limit: int) -> list[str]:
    """Return up to `limit` names of repositories that follow the name `after`, in order."""
    with engine.read() as transaction:
        found = transaction.scan(REPOSITORIES, after=after.encode(), limit=limit)
        return [key.decode() for key, _ in found]


def names_of(transaction: ReadTransaction, owner: str) -> Iterator[str]:
    """Yield the repositories that belong to an account, in order: first that of its own name."""
    if transaction.get(REPOSITORIES, owner.encode()) is not None:
        yield owner
    for key, _ in transaction.scan(REPOSITORIES, f"{owner}/".encode()):
        yield key.decode()


def ensure(
    transaction: WriteTransaction, name: RepositoryName, author: Author, permits: Permits
) -> RepositoryId:
    """Return the number of a repository to push to. Creates the repository if it does not exist.

    The caller has checked the permits.
    """
    repository = find(transaction, name)
    if repository is None:
        change = RepositoryChange(is_public=permits.makes_public(transaction))
        repository = create(transaction, name, author, change)
    return repository


class Catalog:
    """The catalog of a registry, for one caller."""

    def __init__(self, holdings: Holdings, permits: Permits) -> None:
        self._holdings = holdings
        self._permits = permits

    def page(self, count: int, last: str = "") -> Page[str]:
        """See `Holdings.catalog`."""
        return self._holdings.catalog(self._permits, count, last)

    def check(self, name: RepositoryName, action: Action) -> None:
        """Return if the caller may do this. Raises what `Permits.check` does."""
        self._holdings.check(self._permits, action, name)


def create(
    transaction: WriteTransaction,
    name: RepositoryName,
    author: Author,
    change: RepositoryChange = NO_CHANGE,
) -> RepositoryId:
    """Create a repository, and end the verdicts on its name. It ignores a README in `change`: call
    `update` for that.
    """
    number = transaction.take(META, b"repository_id")
    key = name.text.encode()
    record = change.apply(RepositoryRecord(1, number, author.now))
    transaction.put(REPOSITORIES, key, encode_repository(record))
    transaction.put(REPOSITORY_NAMES, number_key(number), key)
    if record.is_public:
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


def update(
    transaction: WriteTransaction,
    name: RepositoryName,
    author: Author,
    change: RepositoryChange,
    rendering: RenderedReadme | None = None,
) -> RepositoryRecord:
    """Change a repository. `rendering` is that of the README; without it the housekeeper renders
    the README.

    The README is kept without characters that mislead its readers. Raises `RepositoryUnknown`.
    """
    number = get(transaction, name)
    old = record(transaction, name)
    readme = None if change.readme is None else characters.cleaned_lines(change.readme)
    assert old is not None
    new = change.apply(old)
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
