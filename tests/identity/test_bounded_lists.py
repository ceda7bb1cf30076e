"""Lists of repositories for bounded credentials: exact, and read only within the bounds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from dtrfast.identity.bounds import actions_on, pull_patterns
from dtrfast.identity.caller_permits import CallerPermits
from dtrfast.identity.callers import Caller
from dtrfast.identity.records import Bound
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import REPOSITORIES
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.permits import Action
from dtrfast.registry.writing import Author
from tests.api.managed.town import Town, basic, in_memory

MORE = [f"acme/lots/of{number:03}" for number in range(60)]
NAMES = [*MORE, "acme", "acme/app/deep", "nora/own", "tools/lint"]
SCOPES = (
    (),
    (("acme/app", "pull"),),
    (("acme/app", "push"),),
    (("acme/app/*", "pull"), ("acme", "pull")),
    (("acme/*", "pull"), ("acme/app", "pull")),
    (("*", "pull"), ("acme/*", "*")),
    (("*", "push"), ("nora/*", "pull"), ("tools/lint", "*")),
)


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    def make(transaction: WriteTransaction) -> None:
        for name in NAMES:
            repositories.create(transaction, RepositoryName(name), Author("system", 1))

    with in_memory() as town:
        town.engine.write(make)
        grant = {"accessLevel": "read-only"}
        town.api("nora", "PUT", "repositories/nora/own/userAccess/rita", grant)
        yield town


def callers(town: Town) -> Iterator[Caller]:
    """Yield users, tokens and robots with each set of scopes, and their access tokens."""
    numbers = itertools.count()
    owners = (("admin", "admin"), ("owen", "owen"), ("rita", "rita"), ("owen", "acme"))
    for (who, owner), scopes in itertools.product(owners, SCOPES):
        kind = "robots" if owner == "acme" else "tokens"
        kept = [(n, a) for n, a in scopes if kind == "tokens" or n.startswith("acme")]
        given = [{"repository": name, "actions": [action]} for name, action in kept]
        if kind == "robots" and not given:
            continue
        body = {"name": f"t{next(numbers)}", "scopes": given}
        made = town.api(who, "POST", f"accounts/{owner}/{kind}", body, 201)
        identity = town.identity
        header = basic(made["user"], made["token"])["authorization"]
        yield identity.guard.identify(header, "192.0.2.1").caller
        for asked in (
            ("repository:acme/app:pull",),
            ("repository:acme/app:pull", "registry:catalog:*"),
        ):
            token = town.token(made["user"], *asked, password=made["token"])
            yield identity.guard.identify(f"Bearer {token}", "192.0.2.1").caller


def test_a_list_has_what_the_caller_may_pull_and_nothing_else(town: Town) -> None:
    with town.engine.read() as transaction:
        every = [name for name, _ in transaction.scan(REPOSITORIES)]
    for caller in callers(town):
        permits = CallerPermits(caller)
        with town.engine.read() as transaction:
            seen = list(permits.visible(transaction, b"acme/", with_empty=True))
            verdicts = {n: permits.verdict(transaction, RepositoryName(n.decode())) for n in every}
        may = {n: v.held if caller.lists else v.allowed for n, v in verdicts.items()}
        may[b"acme/open"] = Action.PULL  # public repositories are listed for every caller
        wanted = [n for n in every if n > b"acme/" and Action.PULL in may[n]]
        assert seen == wanted, caller


class _CountingTransaction:
    """A transaction that counts the rows that it returns."""

    def __init__(self, transaction: Any) -> None:
        self._transaction = transaction
        self.rows = 0

    def get(self, *arguments: Any) -> Any:
        self.rows += 1
        return self._transaction.get(*arguments)

    def scan(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        for row in self._transaction.scan(*arguments, **options):
            self.rows += 1
            yield row


@pytest.mark.parametrize("who", ["admin", "owen", "acme"])
def test_what_the_bounds_leave_out_is_not_looked_at(town: Town, who: str) -> None:
    kind, asker = ("robots", "owen") if who == "acme" else ("tokens", who)
    scopes = [
        {"repository": "acme/*", "actions": ["push"]},
        {"repository": "acme/app", "actions": ["pull"]},
    ]
    body = {"name": "narrow", "scopes": scopes}
    made = town.api(asker, "POST", f"accounts/{who}/{kind}", body, 201)
    header = basic(made["user"], made["token"])["authorization"]
    permits = CallerPermits(town.identity.guard.identify(header, "192.0.2.1").caller)
    with town.engine.read() as transaction:
        counting: Any = _CountingTransaction(transaction)
        seen = list(permits.visible(counting, b"", with_empty=True))
    assert seen == [b"acme/app", b"acme/open"]
    assert counting.rows < 30, "a list takes as long as what is in it"


def test_patterns_are_cut_to_what_the_bounds_give_to_pull() -> None:
    bounds = [
        Bound("acme/app", int(Action.PULL)),
        Bound("acme/deep/*", int(Action.PULL)),
        Bound("nora/*", int(Action.PUSH)),
    ]
    patterns = ["*", "acme", "acme/*", "acme/app", "acme/deep/er", "acme/deepest", "nora/own", ""]
    assert sorted(set(pull_patterns(patterns, bounds))) == [
        "acme/app",
        "acme/deep/*",
        "acme/deep/er",
    ]
    assert not list(pull_patterns(patterns, []))
    assert set(pull_patterns(patterns, [Bound("*", int(Action.PULL))])) >= {
        "*",
        "acme/*",
        "nora/own",
    }
    assert Action.PULL in actions_on(bounds, "acme/app")
