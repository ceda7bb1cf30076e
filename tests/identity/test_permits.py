"""The identity seam: one contract for accounts and the fake, and a registry that uses them."""

from __future__ import annotations

import pytest

from dtrfast.config import Config
from dtrfast.errors import AccessRefused, RepositoryUnknown
from dtrfast.identity import accounts, grants
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.caller_permits import CallerPermits
from dtrfast.identity.callers import Caller
from dtrfast.identity.grants import Level
from dtrfast.identity.names import AccountName
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import CATALOG
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import repositories
from dtrfast.registry.permits import EVERYTHING, Action, Permits
from dtrfast.registry.registry import Registry
from dtrfast.registry.writing import Author
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine
from tests.fakes.permits import DictPermits
from tests.registry.permits_contract import RIGHTS, PermitsContract

AUTHOR = Author("system", 1)
LEVELS = {
    Action(0): Level.NONE,
    Action.PULL: Level.READ_ONLY,
    Action.PULL | Action.PUSH | Action.DELETE: Level.READ_WRITE,
    EVERYTHING: Level.ADMIN,
}


def fill(transaction: WriteTransaction, names: list[str]) -> None:
    for name in names:
        repositories.create(transaction, RepositoryName(name), AUTHOR)
        transaction.put(CATALOG, name.encode(), b"")


class TestAccounts(PermitsContract):
    def make(self, rights: dict[str, Action]) -> Permits:
        self.engine = MemoryEngine()

        def prepare(transaction: WriteTransaction) -> int:
            fill(transaction, list(rights))
            accounts.create(transaction, AUTHOR, NewAccount(AccountName("acme"), "organization"))
            new = NewAccount(AccountName("una"))
            return accounts.create(transaction, AUTHOR, new).id

        self.user_id = self.engine.write(prepare)
        for name, held in rights.items():
            self.change(name, held)
        return CallerPermits(Caller("user", "una", "password", self.user_id, 1))

    def change(self, name: str, rights: Action) -> None:
        def grant(transaction: WriteTransaction) -> None:
            number = repositories.get(transaction, RepositoryName(name))
            place = grants.repository_place(number)
            grants.remove(transaction, AUTHOR, place, self.user_id)
            if rights:
                grants.put(transaction, AUTHOR, place, self.user_id, LEVELS[rights])

        self.engine.write(grant)


class TestDictionary(PermitsContract):
    def make(self, rights: dict[str, Action]) -> Permits:
        self.engine = MemoryEngine()
        self.engine.write(lambda transaction: fill(transaction, list(rights)))
        self.permits = DictPermits(rights)
        return self.permits

    def change(self, name: str, rights: Action) -> None:
        self.permits.rights[name] = rights


@pytest.mark.parametrize("name", RIGHTS)
def test_a_registry_asks_the_permits_of_who_it_acts_for(name: str) -> None:
    engine, clock = MemoryEngine(), Clock()
    engine.write(lambda transaction: fill(transaction, list(RIGHTS)))
    whole = Registry(engine, MemoryBlobs(clock), Config(), clock=clock)
    mine = whole.acting_for(DictPermits(RIGHTS))
    repository = RepositoryName(name)
    if Action.DELETE not in RIGHTS[name]:
        kind = AccessRefused if RIGHTS[name] else RepositoryUnknown
        for operation in (
            lambda: mine.uploads.begin(repository),
            lambda: mine.tags.delete(repository, Tag("x"), mine.author()),
        ):
            with pytest.raises(kind):
                operation()
    else:
        mine.uploads.begin(repository).cancel()
    assert mine.author().actor == "a caller"
    assert whole.author().actor == "anonymous"
