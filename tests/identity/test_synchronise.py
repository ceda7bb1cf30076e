"""A synchronization with the LDAP directory writes its plan; one failure stops no other change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from dtrfast.identity import accounts, teams
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.ldap.client import Directory, DirectoryUser, People
from dtrfast.identity.ldap.settings import GroupRef, LdapSettings, UserSet
from dtrfast.identity.names import AccountName, TeamName
from dtrfast.identity.synchronise import synchronise
from dtrfast.identity.teams import NewTeam
from dtrfast.index.engine import WriteTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.writing import Author
from tests.fakes.engine import MemoryEngine

AUTHOR = Author("system", 1000)
DEVELOPERS = "cn=dev,dc=example"
SETTINGS = LdapSettings(server_urls=("ldap://x",), user_sets=(UserSet(base_dn="dc=example"),))


class StaticDirectory(Directory):
    """A directory of some users, and of members by the names of groups."""

    def __init__(self, users: dict[str, str], groups: dict[str, set[str]] | None = None) -> None:
        super().__init__(SETTINGS)
        self._users = [DirectoryUser(i, f"uid={i}", login, "") for i, login in users.items()]
        self._groups = groups or {}

    def people(self) -> People:
        return People(tuple(self._users), ())

    def members(self, groups: Sequence[GroupRef], users: Iterable[DirectoryUser]) -> list[set[str]]:
        return [self._groups.get(group.dn, set()) for group in groups]


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


def run(
    engine: MemoryEngine, users: dict[str, str], groups: dict[str, set[str]] | None = None
) -> list[str]:
    """Synchronise with a directory of users, logins by ids; the changes, those that failed last."""
    directory = StaticDirectory(users, groups)
    done = synchronise(engine, SETTINGS, AUTHOR, directory=lambda settings: directory)
    return [" ".join(line.values()) for line in done.changes]


def names(engine: MemoryEngine) -> dict[str, str]:
    """The names of the directory's accounts by their ids in it."""
    with engine.read() as transaction:
        return {a.directory_id: a.name for a in accounts.scan(transaction) if a.directory_id}


def make_repository(engine: MemoryEngine, name: str) -> None:
    engine.write(lambda t: repositories.create(t, RepositoryName(name), AUTHOR))


def make_team(transaction: WriteTransaction) -> None:
    """The team acme/dev, whose members are those of a group."""
    acme = accounts.create(transaction, AUTHOR, NewAccount(AccountName("acme"), "organization"))
    team = NewTeam(TeamName("dev"), type="ldap", group_dn=DEVELOPERS)
    teams.create(transaction, AUTHOR, acme, team)


def test_two_users_swap_their_names(engine: MemoryEngine) -> None:
    run(engine, {"1": "rita", "2": "will"})
    assert run(engine, {"1": "will", "2": "rita"}) == ["rename rita will", "rename will rita"]
    assert names(engine) == {"1": "will", "2": "rita"}
    assert run(engine, {"1": "will", "2": "rita"}) == []


def test_a_name_with_repositories_becomes_no_account(engine: MemoryEngine) -> None:
    make_repository(engine, "rita/app")
    assert run(engine, {"1": "rita", "2": "will"}) == [
        "create rita uid=1",
        "create will uid=2",
        "failed there are repositories below rita/, which uid=1 would get",
    ]
    assert names(engine) == {"2": "will"}


def test_a_user_with_repositories_keeps_the_name_and_others_are_renamed(
    engine: MemoryEngine,
) -> None:
    run(engine, {"1": "rita", "2": "will"})
    make_repository(engine, "rita/app")
    changes = run(engine, {"1": "margarita", "2": "william"})
    assert changes[-1] == "failed rita has repositories, which its new name would not have"
    assert names(engine) == {"1": "rita", "2": "william"}


def test_a_swap_that_cannot_be_made_leaves_both_names(engine: MemoryEngine) -> None:
    """One user has repositories and keeps the name; the other must keep a name to sign in with."""
    run(engine, {"1": "rita", "2": "will"})
    make_repository(engine, "will/app")
    run(engine, {"1": "will", "2": "rita"})
    assert names(engine) == {"1": "rita", "2": "will"}


def test_a_team_of_the_directory_gains_and_loses_members(engine: MemoryEngine) -> None:
    engine.write(make_team)
    people = {"1": "rita", "2": "will"}
    changes = run(engine, people, {DEVELOPERS: {"1", "2"}})
    assert changes[2:] == ["add member rita acme/dev", "add member will acme/dev"]
    assert run(engine, people, {DEVELOPERS: {"2"}}) == ["remove member rita acme/dev"]
    assert run(engine, people, {DEVELOPERS: {"2"}}) == []


def test_a_user_without_an_account_is_in_no_team(engine: MemoryEngine) -> None:
    engine.write(make_team)
    make_repository(engine, "rita/app")
    run(engine, {"1": "rita", "2": "will"}, {DEVELOPERS: {"1", "2"}})
    with engine.read() as transaction:
        acme = accounts.get(transaction, "acme")
        team = teams.find(transaction, acme, "dev")
        assert team is not None
        assert [name for name, _ in teams.members(transaction, team)] == ["will"]
