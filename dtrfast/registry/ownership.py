"""The account that a repository belongs to, by its id: the one of the first part of its name.

A name can be given up and taken by another account; an id is given out once. Records that outlive a
repository's name keep the id.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import ACCOUNT_NAMES, number_of
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories

# The owner of a repository that no account's name is in: the registry itself.
REGISTRY = 0
# The owner in records of versions that kept a name only.
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Ownership:
    """A repository's number, 0 where it does not exist, and the id of its owner."""

    repository: int = 0
    owner: int = REGISTRY


def owner_of(transaction: ReadTransaction, name: RepositoryName) -> int:
    """Return the id of the account that a repository of this name belongs to, or `REGISTRY`."""
    number = transaction.get(ACCOUNT_NAMES, name.owner.encode())
    return REGISTRY if number is None else number_of(number)


def find(transaction: ReadTransaction, name: RepositoryName) -> Ownership:
    """Return the ownership of a name, which need not be that of a repository."""
    repository = repositories.find(transaction, name)
    return Ownership(0 if repository is None else repository, owner_of(transaction, name))
