"""A synchronization with the LDAP directory writes its plan; one failure stops no other change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import pytest

from dtrfast.errors import Conflict
from dtrfast.identity import accounts, synchronization, teams
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.ldap.client import LdapDirectory
from dtrfast.identity.ldap.groups import GroupMembers
from dtrfast.identity.ldap.people import DirectoryUser, People, Problem, SkippedEntry
from dtrfast.identity.ldap.settings import GroupRef, LdapSettings, UserSet
from dtrfast.identity.names import AccountName, TeamName
from dtrfast.identity.synchronization import SyncReport, synchronize
from dtrfast.identity.teams import NewTeam
from dtrfast.index.engine import WriteTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.writing import Author
from tests.api.managed.town import KeptEvents
from tests.fakes.engine import MemoryEngine

AUTHOR = Author("system", 1000)
DEVELOPERS = "cn=dev,dc=example"
SETTINGS = LdapSettings(server_urls=("ldap://x",), user_sets=(UserSet(base_dn="dc=example"),))
ADMINS = "cn=admins,dc=example"
WITH_ADMINS = msgspec.structs.replace(SETTINGS, admin_group=GroupRef(dn=ADMINS))


class StaticDirectory(LdapDirectory):
    """A directory with these users, and these groups by name. Other groups are missing."""

    def __init__(self, people: People, groups: dict[str, GroupMembers]) -> None:
        super().__init__(SETTINGS)
        self._people = people
        self._groups = groups
        self.known: list[str] = []

    def people(self) -> People:
        return self._people

    def members(
        self, groups: Sequence[GroupRef], people: People, known_groups: Iterable[str] = ()
    ) -> list[GroupMembers]:
        self.known = list(known_groups)
        missing = GroupMembers(problem="it is not there")
        return [self._groups.get(group.dn, missing) for group in groups]


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


def people_of(users: dict[str, str]) -> People:
    """Return people with these logins, by their stable ids."""
    return People(tuple(DirectoryUser(i, f"uid={i}", login, "") for i, login in users.items()), ())


def run(
    engine: MemoryEngine, users: dict[str, str], groups: dict[str, set[str]] | None = None
) -> list[str]:
    """Synchronize with a directory of users, which are logins by ids. Return the changes; failed
    ones come last.
    """
    done = look(engine, people_of(users), groups)
    return [" ".join(line.values()) for line in done.changes]


def look(
    engine: MemoryEngine,
    people: People,
    groups: dict[str, set[str]] | None = None,
    settings: LdapSettings = SETTINGS,
    **wish: bool,
) -> SyncReport:
    members = {
        dn: GroupMembers(frozenset(ids), is_empty=not ids) for dn, ids in (groups or {}).items()
    }
    directory = StaticDirectory(people, members)
    return synchronize(engine, settings, AUTHOR, directory=lambda settings: directory, **wish)


def names(engine: MemoryEngine) -> dict[str, str]:
    """Return the names of the directory's accounts by their stable ids."""
    with engine.read() as transaction:
        return {a.directory_id: a.name for a in accounts.scan(transaction) if a.directory_id}


def make_repository(engine: MemoryEngine, name: str) -> None:
    engine.write(lambda t: repositories.create(t, RepositoryName(name), AUTHOR))


def make_team(transaction: WriteTransaction) -> None:
    """Create the team acme/dev, which has the members of a group."""
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
    engine.write(make_team)
    people, groups = people_of({"1": "rita", "2": "will"}), {DEVELOPERS: {"1", "2"}}
    expected = [
        "create will uid=2",
        "add member will acme/dev",
        "conflict uid=1 there are repositories below rita/, which it would get",
    ]
    for is_dry in (True, False):
        done = look(engine, people, groups, dry_run=is_dry)
        assert [" ".join(line.values()) for line in done.changes] == expected
        assert done.problems == []
    assert names(engine) == {"2": "will"}


def test_a_user_with_repositories_keeps_the_name_and_others_are_renamed(
    engine: MemoryEngine,
) -> None:
    run(engine, {"1": "rita", "2": "will"})
    make_repository(engine, "rita/app")
    people = people_of({"1": "margarita", "2": "william", "3": "rita"})
    for is_dry in (True, False):
        done = look(engine, people, dry_run=is_dry)
        assert [" ".join(line.values()) for line in done.changes] == [
            "rename will william",
            "conflict uid=3 the account rita keeps its name",
        ]
        (problem,) = done.problems
        assert (problem.subject, problem.dn) == ("account rita", "uid=1")
        assert "rita has repositories, which its new name margarita would not" in problem.reason
    assert names(engine) == {"1": "rita", "2": "william"}


def test_a_name_that_is_kept_keeps_no_rights(engine: MemoryEngine) -> None:
    engine.write(make_team)
    users = {"1": "rita", "2": "will"}
    groups = {ADMINS: {"1", "2"}, DEVELOPERS: {"1"}}
    look(engine, people_of(users), groups, WITH_ADMINS)
    make_repository(engine, "rita/app")
    groups = {ADMINS: {"2"}, DEVELOPERS: {"2"}}
    done = look(engine, people_of({**users, "1": "margarita"}), groups, WITH_ADMINS)
    assert admins_of(engine) == ["will"]
    assert members_of(engine) == ["will"]
    assert {"change": "make ordinary user", "account": "rita"} in done.changes
    assert {"change": "remove member", "account": "rita", "team": "acme/dev"} in done.changes
    assert [problem.subject for problem in done.problems] == ["account rita"]


def test_a_change_that_fails_is_a_problem(engine: MemoryEngine) -> None:
    """Another account gets the name between the decision and the write."""

    class Late(StaticDirectory):
        def members(
            self, groups: Sequence[GroupRef], people: People, known_groups: Iterable[str] = ()
        ) -> list[GroupMembers]:
            taken = NewAccount(AccountName("rita"))
            engine.write(lambda t: accounts.create(t, AUTHOR, taken))
            return super().members(groups, people, known_groups)

    directory = Late(people_of({"1": "rita", "2": "will"}), {})
    done = synchronize(engine, SETTINGS, AUTHOR, directory=lambda settings: directory)
    assert names(engine) == {"2": "will"}
    assert ["taken" in problem.reason for problem in done.problems] == [True]


def test_a_swap_that_cannot_be_made_leaves_both_names(engine: MemoryEngine) -> None:
    """One user has repositories and keeps its name. The other must still have a name to sign in."""
    run(engine, {"1": "rita", "2": "will"})
    make_repository(engine, "will/app")
    done = look(engine, people_of({"1": "will", "2": "rita"}))
    assert done.changes == []
    assert [problem.subject for problem in done.problems] == ["account rita", "account will"]
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


# ---- missing is not empty ------------------------------------------------------------------------
TEN = {str(number): f"user{number}" for number in range(10)}


def members_of(engine: MemoryEngine) -> list[str]:
    with engine.read() as transaction:
        acme = accounts.get(transaction, "acme")
        team = teams.find(transaction, acme, "dev")
        assert team is not None
        return sorted(name for name, _ in teams.members(transaction, team))


def admins_of(engine: MemoryEngine) -> list[str]:
    with engine.read() as transaction:
        return sorted(a.name for a in accounts.scan(transaction) if a.is_admin)


def active(engine: MemoryEngine) -> list[str]:
    with engine.read() as transaction:
        return sorted(a.name for a in accounts.scan(transaction) if a.is_user and a.is_active)


def test_a_missing_group_leaves_its_team_and_no_other(engine: MemoryEngine) -> None:
    engine.write(make_team)
    run(engine, TEN, {DEVELOPERS: {"1", "2"}})
    done = look(engine, people_of({**TEN, "10": "newcomer"}), {})
    assert members_of(engine) == ["user1", "user2"]
    assert "newcomer" in active(engine)
    (problem,) = done.problems
    assert (problem.subject, problem.dn) == ("team acme/dev", DEVELOPERS)
    assert done.error == ""


def test_a_group_that_is_empty_empties_its_team(engine: MemoryEngine) -> None:
    engine.write(make_team)
    run(engine, TEN, {DEVELOPERS: {"1", "2"}})
    done = look(engine, people_of(TEN), {DEVELOPERS: set()})
    assert (members_of(engine), done.problems) == ([], [])


@pytest.mark.parametrize("groups", [{}, {ADMINS: set()}])
def test_administrators_stay_when_their_group_is_gone_or_empty(
    engine: MemoryEngine, groups: dict[str, set[str]]
) -> None:
    people = people_of(TEN)
    look(engine, people, {ADMINS: {"1", "2"}}, WITH_ADMINS)
    done = look(engine, people, groups, WITH_ADMINS)
    assert admins_of(engine) == ["user1", "user2"]
    assert [problem.dn for problem in done.problems] == [ADMINS]
    look(engine, people, groups, WITH_ADMINS, allow_removals=True)
    assert admins_of(engine) == (["user1", "user2"] if not groups else [])


def test_a_missing_user_set_changes_nothing_whatever_is_allowed(engine: MemoryEngine) -> None:
    run(engine, TEN)
    missing = Problem("users", "ou=x", "it is not there")
    people = People(people_of({"10": "newcomer"}).users, (), (missing,))
    for wish in (False, True):
        done = look(engine, people, allow_removals=wish)
        assert "ou=x" in done.error
        assert [problem.dn for problem in done.problems] == ["ou=x"]
    assert len(active(engine)) == 10


def test_an_empty_user_set_is_believed_where_it_is_allowed(engine: MemoryEngine) -> None:
    run(engine, {"1": "rita"})
    people = People((), (), (Problem("users", "ou=x", "no entry", is_believable=True),))
    assert "--allow-removals" in look(engine, people).error
    assert active(engine) == ["rita"]
    look(engine, people, allow_removals=True)
    assert active(engine) == []
    assert look(MemoryEngine(), people).error == ""  # a registry without users can lose none


def test_large_removals_stop_everything_and_are_named(engine: MemoryEngine) -> None:
    engine.write(make_team)
    everyone = {DEVELOPERS: set(TEN), ADMINS: set(TEN)}
    look(engine, people_of(TEN), everyone, WITH_ADMINS)
    fewer = dict(list(TEN.items())[:7])
    cases = [
        (people_of(fewer), everyone, "active users: 3 of 10 (user7, user8, user9)"),
        (people_of(TEN), {**everyone, DEVELOPERS: {"1"}}, "team acme/dev: 9 of 10"),
        (people_of(TEN), {**everyone, ADMINS: set(fewer)}, "administrators: 3 of 10"),
    ]
    for people, groups, text in cases:
        for dry_run in (True, False):
            done = look(engine, people, groups, WITH_ADMINS, dry_run=dry_run)
            assert text in done.error
            assert len(done.changes) >= 3
        assert active(engine) == members_of(engine) == admins_of(engine) == sorted(TEN.values())
    look(engine, *cases[0][:2], WITH_ADMINS, allow_removals=True)
    assert len(active(engine)) == 7


def test_small_removals_need_no_question(engine: MemoryEngine) -> None:
    run(engine, TEN)
    assert look(engine, people_of(dict(list(TEN.items())[:8]))).error == ""
    five = MemoryEngine()
    run(five, dict(list(TEN.items())[:5]))
    assert look(five, people_of(dict(list(TEN.items())[:3]))).error == ""
    assert len(active(five)) == 3
    strict = msgspec.structs.replace(SETTINGS, removal_share_max=1.0)
    assert look(five, people_of({"99": "other"}), settings=strict).error == ""


def test_a_user_who_shows_too_little_stays(engine: MemoryEngine) -> None:
    """It shows its id, only the login in its DN, or neither."""
    engine.write(make_team)
    run(engine, TEN, {DEVELOPERS: {"1"}})
    rest = {number: name for number, name in TEN.items() if number != "1"}
    for skipped in (
        SkippedEntry("uid=user1", "hidden", "1"),
        SkippedEntry("uid=user1", "hidden", "", "user1"),
    ):
        people = People(people_of(rest).users, (skipped,))
        done = look(engine, people, {DEVELOPERS: {"1"}})
        assert done.changes == []
        assert [problem.subject for problem in done.problems] == ["account user1"]
    people = People(people_of(rest).users, (SkippedEntry("ou=x", "hidden"),))
    done = look(engine, people, {DEVELOPERS: set()})
    assert ("user1" in active(engine), members_of(engine)) == (True, ["user1"])
    assert "user1" in done.problems[0].reason
    assert run(engine, rest, {DEVELOPERS: set()})[0] == "deactivate user1"


def test_a_name_that_is_not_shown_is_not_emptied(engine: MemoryEngine) -> None:
    named = People((DirectoryUser("1", "uid=1", "rita", "Rita"),), ())
    look(engine, named)
    assert run(engine, {"1": "rita"}) == []


def test_groups_inside_are_remembered_over_failures(engine: MemoryEngine) -> None:
    engine.write(make_team)
    inside = GroupMembers(frozenset({"1"}), inside=("cn=inner",))
    directory = StaticDirectory(people_of(TEN), {DEVELOPERS: inside})
    events = KeptEvents()

    def go() -> SyncReport:
        return synchronization.run(
            engine, SETTINGS, events, AUTHOR, directory=lambda settings: directory
        )

    go()
    directory._groups = {}
    go()
    directory._people = People((), (), (Problem("users", "ou=x", "gone"),))
    with pytest.raises(Conflict):
        go()
    directory._people = people_of(TEN)
    go()
    assert directory.known == ["cn=inner"]
    assert [event.outcome for event in events.of("ldap.sync")] == [
        "ok",
        "failed",
        "failed",
        "failed",
    ]
    assert DEVELOPERS in str(events.of("ldap.sync")[1].detail["missing"])
