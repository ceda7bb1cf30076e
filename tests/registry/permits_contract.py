"""The contract of every implementation of the identity seam (`dtrfast.registry.permits`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import pytest

from dtrfast.errors import AccessRefused, CallerUnknown, RepositoryUnknown
from dtrfast.index.engine import Engine
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.permits import EVERYTHING, Action, Permits

ACTIONS = (Action.PULL, Action.PUSH, Action.DELETE, Action.ADMIN)
# The caller's rights in each of these repositories. All of them hold something.
RIGHTS = {
    "acme/all": EVERYTHING,
    "acme/read": Action.PULL,
    "acme/write": Action.PULL | Action.PUSH | Action.DELETE,
    "acme/hidden": Action(0),
}


class PermitsContract(ABC):
    """Subclass it with a caller that has the rights of `RIGHTS`."""

    engine: Engine

    @abstractmethod
    def make(self, rights: dict[str, Action]) -> Permits:
        """Return the permits of a caller with these rights. The repositories hold something."""

    @abstractmethod
    def change(self, name: str, rights: Action) -> None:
        """Change the caller's rights in a repository."""

    def may(self, permits: Permits, name: str) -> Action:
        with self.engine.read() as transaction:
            held = [a for a in ACTIONS if permits.may(transaction, a, RepositoryName(name))]
        return _sum(held)

    def test_may(self) -> None:
        permits = self.make(RIGHTS)
        assert {name: self.may(permits, name) for name in RIGHTS} == RIGHTS

    def test_allowed_is_may_for_many_repositories_at_once(self) -> None:
        permits = self.make(RIGHTS)
        names = [*RIGHTS, "acme/missing", *RIGHTS]
        with self.engine.read() as transaction:
            found = permits.allowed(transaction, [RepositoryName(name) for name in names])
            assert permits.allowed(transaction, []) == []
        assert found == [RIGHTS.get(name, Action(0)) for name in names]

    @pytest.mark.parametrize("name", RIGHTS)
    @pytest.mark.parametrize("action", ACTIONS)
    def test_check_raises_where_may_says_no(self, name: str, action: Action) -> None:
        permits = self.make(RIGHTS)
        with self.engine.read() as transaction:
            if action in RIGHTS[name]:
                permits.check(transaction, action, RepositoryName(name))
                return
            kind = AccessRefused if RIGHTS[name] else RepositoryUnknown
            with pytest.raises((kind, CallerUnknown)):
                permits.check(transaction, action, RepositoryName(name))

    def test_what_is_hidden_is_told_as_what_is_not_there(self) -> None:
        permits = self.make(RIGHTS)
        messages = []
        for name in ("acme/hidden", "acme/gone"):
            with self.engine.read() as transaction, pytest.raises(RepositoryUnknown) as refused:
                permits.check(transaction, Action.PULL, RepositoryName(name))
            messages.append((type(refused.value), refused.value.message.replace(name, "")))
        assert messages[0] == messages[1]

    def test_visible_is_what_may_be_pulled_in_order(self) -> None:
        permits = self.make(RIGHTS)
        seen = [b"acme/all", b"acme/read", b"acme/write"]
        with self.engine.read() as transaction:
            assert list(permits.visible(transaction, b"")) == seen
            assert list(permits.visible(transaction, b"acme/all")) == seen[1:]
            assert list(permits.visible(transaction, b"acme/b")) == seen[1:]
            assert list(permits.visible(transaction, b"z")) == []

    def test_a_change_holds_in_the_next_transaction(self) -> None:
        permits = self.make(RIGHTS)
        assert self.may(permits, "acme/read") == Action.PULL
        with self.engine.read() as before:
            assert permits.may(before, Action.PULL, RepositoryName("acme/read"))
        self.change("acme/read", Action(0))
        assert self.may(permits, "acme/read") == Action(0)
        self.change("acme/read", Action.PULL | Action.PUSH | Action.DELETE)
        assert Action.PUSH in self.may(permits, "acme/read")

    def test_the_caller_is_named(self) -> None:
        assert self.make(RIGHTS).actor


def _sum(actions: Iterable[Action]) -> Action:
    total = Action(0)
    for action in actions:
        total |= action
    return total
