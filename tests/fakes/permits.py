"""Permits from a dictionary."""

from __future__ import annotations

from collections.abc import Iterator

from dtrfast.errors import Denied, RepositoryHidden
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import CATALOG
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import ownership
from dtrfast.registry.ownership import Claim
from dtrfast.registry.permits import Action


class DictPermits:
    """`rights` by repository; a test may change them."""

    actor = "somebody"
    upload_owner = "somebody"

    def __init__(self, rights: dict[str, Action]) -> None:
        self.rights = dict(rights)

    def check(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> None:
        held = self.rights.get(name.text, Action(0))
        if Action.PULL not in held:
            raise RepositoryHidden(f"there is no repository {name}, or you may not know of it")
        if action not in held:
            raise Denied("not that")

    def may(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> bool:
        return action in self.rights.get(name.text, Action(0))

    def makes_public(self, transaction: ReadTransaction) -> bool:
        return False

    def confirm(self, transaction: ReadTransaction) -> None:
        return None

    def claim(self, transaction: ReadTransaction, name: RepositoryName) -> Claim:
        return ownership.ALL

    def visible(self, transaction: ReadTransaction, after: bytes) -> Iterator[bytes]:
        names = (name for name, _ in transaction.scan(CATALOG, after=after))
        return (n for n in names if Action.PULL in self.rights.get(n.decode(), Action(0)))
