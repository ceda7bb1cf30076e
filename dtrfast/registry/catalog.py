"""The catalog: the repositories that hold a manifest or a blob. Functions over a transaction.

The first manifest or blob of a repository writes its row of CATALOG, and the last one to leave
deletes it. So the cost of a page does not depend on the number of empty repositories.
"""

from __future__ import annotations

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import CATALOG, LINKS, MANIFESTS, REPOSITORY_NAMES, number_key
from dtrfast.registry.keys import RepositoryId


def holds_something(transaction: ReadTransaction, repository: RepositoryId) -> bool:
    """Return True if the repository holds a manifest or a blob."""
    prefix = number_key(repository)
    return any(
        True for table in (LINKS, MANIFESTS) for _ in transaction.scan(table, prefix, limit=1)
    )


def enter(transaction: WriteTransaction, repository: RepositoryId) -> None:
    """Add a repository that holds something, if it is not in the catalog."""
    name = transaction.get(REPOSITORY_NAMES, number_key(repository))
    if name is not None and transaction.get(CATALOG, name) is None:
        transaction.put(CATALOG, name, b"")


def leave_if_empty(transaction: WriteTransaction, repository: RepositoryId) -> None:
    """Remove the repository if it holds nothing."""
    if not holds_something(transaction, repository):
        name = transaction.get(REPOSITORY_NAMES, number_key(repository))
        if name is not None:
            transaction.delete(CATALOG, name)
