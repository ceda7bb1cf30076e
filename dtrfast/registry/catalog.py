"""Which repositories hold something: only those are listed. Functions over a transaction.

A row of CATALOG comes with the first manifest or blob of a repository and goes with the last one,
so a listing costs its page, however many repositories are empty by then.
"""

from __future__ import annotations

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import CATALOG, LINKS, MANIFESTS, REPOSITORY_NAMES, number_key
from dtrfast.registry.keys import RepositoryId


def holds_something(transaction: ReadTransaction, repository: RepositoryId) -> bool:
    """Whether a manifest or a blob is in it."""
    prefix = number_key(repository)
    return any(
        True for table in (LINKS, MANIFESTS) for _ in transaction.scan(table, prefix, limit=1)
    )


def enter(transaction: WriteTransaction, repository: RepositoryId) -> None:
    """List the repository, which holds something."""
    name = transaction.get(REPOSITORY_NAMES, number_key(repository))
    if name is not None and transaction.get(CATALOG, name) is None:
        transaction.put(CATALOG, name, b"")


def leave_if_empty(transaction: WriteTransaction, repository: RepositoryId) -> None:
    """List the repository no longer if it holds nothing."""
    if not holds_something(transaction, repository):
        name = transaction.get(REPOSITORY_NAMES, number_key(repository))
        if name is not None:
            transaction.delete(CATALOG, name)
