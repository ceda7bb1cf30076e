"""The interface that the registry uses to check permissions: its side of the identity seam.

A `Registry` acts for one caller. Each operation checks the caller's permits in the transaction that
it answers from, so that the answer and the verdict belong to one moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Literal, Protocol

from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import CATALOG, REPOSITORIES
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import ownership
from dtrfast.registry.ownership import Claim


class Action(IntFlag):
    """An action on a repository. Each is a bit, so that rights are a set of actions."""

    PULL = 1  # read, and see that the repository exists
    PUSH = 2  # blobs, manifests and tags; creates the repository if it does not exist
    DELETE = 4  # tags, manifests and blobs
    ADMIN = 8  # description, visibility, and grants


NOTHING = Action(0)
# The most that scopes can give: a credential with scopes manages nothing.
SCOPED = Action.PULL | Action.PUSH | Action.DELETE
EVERYTHING = SCOPED | Action.ADMIN


@dataclass(frozen=True, slots=True)
class Namespace:
    """The account that the first part of a repository's name belongs to."""

    account_id: int
    kind: Literal["user", "organization"]


class Permits(Protocol):
    """The permissions of one caller."""

    @property
    def actor(self) -> str:
        """The name that the caller's changes are recorded under."""
        ...

    @property
    def upload_owner(self) -> str:
        """The owner of the caller's uploads: other callers cannot continue them. Empty: all can."""
        ...

    @property
    def is_user(self) -> bool:
        """True for a signed-in user, whose credential is not bounded to repositories. Only users
        see names of accounts.
        """
        ...

    def check(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> None:
        """Return if the caller may do this. Raises `RepositoryUnknown` for a repository that the
        caller may not see, `AccessRefused` for an action that it may not do, and `CallerUnknown`
        where signing in (again) may help.
        """
        ...

    def may(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> bool:
        """Return True if `check` would return."""
        ...

    def allowed(
        self, transaction: ReadTransaction, names: Sequence[RepositoryName]
    ) -> list[Action]:
        """Return all actions that the caller may do, for each repository. They need not exist. One
        call for a page costs less than a call for each entry.
        """
        ...

    def makes_public(self, transaction: ReadTransaction) -> bool:
        """Return True if a repository that the caller's push creates is public."""
        ...

    def namespaces(
        self, transaction: ReadTransaction, owners: Iterable[str]
    ) -> dict[str, Namespace]:
        """Return the accounts that first parts of names belong to. A part that no account has as
        its name is missing from the result.
        """
        ...

    def owned_names(self, transaction: ReadTransaction) -> frozenset[str]:
        """Return the names of the namespaces that the caller owns. Raises `CallerUnknown`,
        `AccessRefused` for callers who are not users.
        """
        ...

    def require_account(self, transaction: ReadTransaction, name: str) -> object:
        """Return if an account has this name. Raises `AccountUnknown`. Only users may ask."""
        ...

    def administers(self, transaction: ReadTransaction, namespace: str) -> bool:
        """Return True for administrators of all repositories of a namespace. Raises
        `CallerUnknown`, `AccessRefused` for callers who are not users.
        """
        ...

    def check_namespace(self, transaction: ReadTransaction, name: RepositoryName) -> None:
        """Return if the caller may create and delete repositories in the namespace of this name.
        Raises `AccessRefused`, `CallerUnknown`.
        """
        ...

    def require_admin(self, transaction: ReadTransaction) -> object:
        """Return for a system administrator. Raises `AccessRefused`, `CallerUnknown`."""
        ...

    def is_admin(self, transaction: ReadTransaction) -> bool:
        """Return True for a system administrator, but not for a bounded credential of one."""
        ...

    def confirm(self, transaction: ReadTransaction) -> None:
        """Return if the caller's credential is still valid. Raises `TokenInvalid`."""
        ...

    def claim(self, transaction: ReadTransaction, name: RepositoryName) -> Claim:
        """Return the part of a repository's trash and history that the caller may see, because the
        repository may have belonged to another account before.
        """
        ...

    def visible(
        self, transaction: ReadTransaction, after: bytes, *, with_empty: bool = False
    ) -> Iterator[bytes]:
        """Return the names of the repositories that the caller may pull from, in order and greater
        than `after`: those that hold something, or all `with_empty`.
        """
        ...


class Everybody:
    """The permits of a registry without accounts: all callers may do everything."""

    actor = "anonymous"
    upload_owner = ""
    is_user = False

    def check(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> None:
        return None

    def may(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> bool:
        return True

    def allowed(
        self, transaction: ReadTransaction, names: Sequence[RepositoryName]
    ) -> list[Action]:
        return [EVERYTHING] * len(names)

    def makes_public(self, transaction: ReadTransaction) -> bool:
        return False  # it is private once there are accounts

    def namespaces(
        self, transaction: ReadTransaction, owners: Iterable[str]
    ) -> dict[str, Namespace]:
        return {}

    def owned_names(self, transaction: ReadTransaction) -> frozenset[str]:
        return frozenset()

    def require_account(self, transaction: ReadTransaction, name: str) -> object:
        return None

    def administers(self, transaction: ReadTransaction, namespace: str) -> bool:
        return True

    def check_namespace(self, transaction: ReadTransaction, name: RepositoryName) -> None:
        return None

    def require_admin(self, transaction: ReadTransaction) -> object:
        return None

    def is_admin(self, transaction: ReadTransaction) -> bool:
        return True

    def confirm(self, transaction: ReadTransaction) -> None:
        return None

    def claim(self, transaction: ReadTransaction, name: RepositoryName) -> Claim:
        return ownership.ALL

    def visible(
        self, transaction: ReadTransaction, after: bytes, *, with_empty: bool = False
    ) -> Iterator[bytes]:
        table = REPOSITORIES if with_empty else CATALOG
        return (name for name, _ in transaction.scan(table, after=after))


EVERYBODY = Everybody()
