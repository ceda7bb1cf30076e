"""What the registry asks of whoever decides who may do what: the registry's side of the identity
seam.

A `Registry` acts for somebody. Each of its operations asks that somebody's permits in the very
transaction that it answers from, so that an answer and the verdict behind it are of one moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntFlag
from typing import Protocol

from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import CATALOG
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import ownership
from dtrfast.registry.ownership import Claim


class Action(IntFlag):
    """What can be done with a repository. Each is a bit, so that a right is a set of them."""

    PULL = 1  # read, and know that the repository is there
    PUSH = 2  # blobs, manifests and tags; makes the repository where it is not there
    DELETE = 4  # tags, manifests and blobs
    ADMIN = 8  # description, visibility, and who else may do what


NOTHING = Action(0)
# The most that scopes can give: a credential that has them manages nothing.
SCOPED = Action.PULL | Action.PUSH | Action.DELETE
EVERYTHING = SCOPED | Action.ADMIN


class Permits(Protocol):
    """What one caller may do."""

    @property
    def actor(self) -> str:
        """Who, as changes are recorded under."""
        ...

    @property
    def upload_owner(self) -> str:
        """Whose uploads these are: nobody else can go on with them. Empty: everybody's."""
        ...

    def check(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> None:
        """Return if the caller may. Raises `RepositoryUnknown` for a repository that the caller may
        not know of, `Denied` for one that may not be used so, `Unidentified` where it may help to
        sign in (again).
        """
        ...

    def may(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> bool:
        """Whether `check` would return."""
        ...

    def makes_public(self, transaction: ReadTransaction) -> bool:
        """True if all may pull from a repository that the caller's push makes."""
        ...

    def confirm(self, transaction: ReadTransaction) -> None:
        """Return if the caller still is who it was. Raises `TokenInvalid`."""
        ...

    def claim(self, transaction: ReadTransaction, name: RepositoryName) -> Claim:
        """Return what of a repository's trash and history is the caller's: a repository may have
        been another account's before.
        """
        ...

    def visible(self, transaction: ReadTransaction, after: bytes) -> Iterator[bytes]:
        """Names of the repositories that hold something and that the caller may pull from, in
        order, greater than `after`.
        """
        ...


class Everybody:
    """Everybody may do everything: a registry without accounts."""

    actor = "anonymous"
    upload_owner = ""

    def check(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> None:
        return None

    def may(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> bool:
        return True

    def makes_public(self, transaction: ReadTransaction) -> bool:
        return False  # it is private once there are accounts

    def confirm(self, transaction: ReadTransaction) -> None:
        return None

    def claim(self, transaction: ReadTransaction, name: RepositoryName) -> Claim:
        return ownership.ALL

    def visible(self, transaction: ReadTransaction, after: bytes) -> Iterator[bytes]:
        return (name for name, _ in transaction.scan(CATALOG, after=after))


EVERYBODY = Everybody()
