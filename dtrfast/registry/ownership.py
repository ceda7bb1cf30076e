"""The account that a repository belongs to, by its id: the one of the first part of its name.

A name can be given up and taken by another account; an id is given out once. Records that outlive a
repository's name keep the id.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import ACCOUNT_NAMES, REPOSITORIES, number_of
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.records import decode_repository

# The owner of a repository whose name begins with no account's name: the registry itself.
REGISTRY = 0
# The owner in records of versions that stored no owner.
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Ownership:
    """A repository's number, 0 if it does not exist, and the id of its owner."""

    repository: int = 0
    owner: int = REGISTRY


NO_REPOSITORY = Ownership()


@dataclass(frozen=True, slots=True)
class Claim:
    """The part of a repository's trash and history that a caller may see: the time in which
    `owner` owned the repository. None: all of it. Records without an owner count if they are later
    than `since`, in seconds since the epoch.
    """

    owner: int | None = None
    since: int = 0

    def covers(self, owner: int, at: int) -> bool:
        """Return True if the claim covers a change at a time `at`, when `owner` owned the
        repository.
        """
        if self.owner is None or owner == self.owner:
            return True
        return owner == UNKNOWN and at > self.since


ALL = Claim()


def owner_of(transaction: ReadTransaction, name: RepositoryName) -> int:
    """Return the id of the account that a repository of this name belongs to, or `REGISTRY`."""
    number = transaction.get(ACCOUNT_NAMES, name.owner.encode())
    return REGISTRY if number is None else number_of(number)


def find(transaction: ReadTransaction, name: RepositoryName) -> Ownership:
    """Return the ownership of a name, which need not be that of a repository."""
    data = transaction.get(REPOSITORIES, name.text.encode())
    repository = 0 if data is None else decode_repository(data).id
    return Ownership(repository, owner_of(transaction, name))
