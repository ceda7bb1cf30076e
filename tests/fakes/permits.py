"""Permits from a dictionary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dtrfast.errors import AccessRefused, AccountUnknown, RepositoryHidden
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import CATALOG, REPOSITORIES
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import ownership
from dtrfast.registry.ownership import Claim
from dtrfast.registry.permits import Action, Namespace


class DictPermits:
    """`rights` by repository. A test may change them."""

    actor = "a caller"
    upload_owner = "a caller"
    is_user = True

    def __init__(self, rights: dict[str, Action]) -> None:
        self.rights = dict(rights)

    def check(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> None:
        held = self.rights.get(name.text, Action(0))
        if Action.PULL not in held:
            raise RepositoryHidden(f"there is no repository {name}, or you may not know of it")
        if action not in held:
            raise AccessRefused("not that")

    def may(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> bool:
        return action in self.rights.get(name.text, Action(0))

    def makes_public(self, transaction: ReadTransaction) -> bool:
        return False

    def confirm(self, transaction: ReadTransaction) -> None:
        return None

    def claim(self, transaction: ReadTransaction, name: RepositoryName) -> Claim:
        return ownership.ALL

    def allowed(
        self, transaction: ReadTransaction, names: Sequence[RepositoryName]
    ) -> list[Action]:
        return [self.rights.get(name.text, Action(0)) for name in names]

    def namespaces(
        self, transaction: ReadTransaction, owners: Iterable[str]
    ) -> dict[str, Namespace]:
        return {}

    def owned_names(self, transaction: ReadTransaction) -> frozenset[str]:
        return frozenset()

    def require_account(self, transaction: ReadTransaction, name: str) -> object:
        raise AccountUnknown(f"there is no account {name!r}")

    def administers(self, transaction: ReadTransaction, namespace: str) -> bool:
        return False

    def check_namespace(self, transaction: ReadTransaction, name: RepositoryName) -> None:
        raise AccessRefused("not that")

    def require_admin(self, transaction: ReadTransaction) -> object:
        raise AccessRefused("not that")

    def is_admin(self, transaction: ReadTransaction) -> bool:
        return False

    def visible(
        self, transaction: ReadTransaction, after: bytes, *, with_empty: bool = False
    ) -> Iterator[bytes]:
        table = REPOSITORIES if with_empty else CATALOG
        names = (name for name, _ in transaction.scan(table, after=after))
        return (n for n in names if Action.PULL in self.rights.get(n.decode(), Action(0)))
