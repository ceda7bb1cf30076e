"""A replay of the change log makes the same accounts, teams, grants and tokens again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from dtrfast.errors import DtrfastError
from dtrfast.identity import accounts, grants, settings, teams, tokens, trusts
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.grants import Level
from dtrfast.identity.ldap.settings import LdapSettings, UserSet
from dtrfast.identity.names import AccountName, TeamName
from dtrfast.identity.oidc import Issuer, Trust
from dtrfast.identity.records import Account, Team
from dtrfast.identity.replay import Replay
from dtrfast.identity.settings import AccessSettings, OidcSettings
from dtrfast.identity.teams import NewTeam
from dtrfast.identity.tokens import NewToken
from dtrfast.index import changes
from dtrfast.index.changes import ChangeRecord
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import (
    ACCOUNT_NAMES,
    ACCOUNT_TOKENS,
    ACCOUNTS,
    CHANGES,
    DIRECTORY_IDS,
    GRANTEES,
    GRANTS,
    MEMBERS,
    SETTINGS,
    TEAM_MEMBERS,
    TEAM_NAMES,
    TEAMS,
    TOKENS,
    TRUSTS,
    USER_TEAMS,
)
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.writing import Author
from tests.fakes.engine import MemoryEngine

AUTHOR = Author("admin", 7)
APP = RepositoryName("acme/app")
ISSUER = Issuer(name="ci", url="https://ci.example", audience="registry")
TRUST = Trust(name="main", issuer="ci", claims={"repository": "acme/app"})
# A repair restores all of these tables. Passwords must be set again.
REPAIRED = (
    ACCOUNT_NAMES,
    ACCOUNT_TOKENS,
    ACCOUNTS,
    DIRECTORY_IDS,
    GRANTEES,
    GRANTS,
    MEMBERS,
    SETTINGS,
    TEAM_MEMBERS,
    TEAM_NAMES,
    TEAMS,
    TOKENS,
    TRUSTS,
    USER_TEAMS,
)


class Organization:
    """An organization with a team, a user of the directory, a robot, a grant, and a trust."""

    def __init__(self, transaction: WriteTransaction) -> None:
        self.transaction = transaction
        self.acme = self.create("acme", kind="organization")
        self.rita = self.create("rita", directory_id="uuid-1")
        self.readers = self.create_team("readers")
        teams.add_member(transaction, AUTHOR, self.acme, self.readers, self.rita)
        self.place = grants.repository_place(make_repository(transaction))
        grants.put(transaction, AUTHOR, self.place, self.readers.id, Level.READ_ONLY)
        new = NewToken("robot", "ci", (), 0, "dtrr_secret")
        self.robot = tokens.create(transaction, AUTHOR, self.acme, new)
        settings.put(transaction, AUTHOR, OidcSettings((ISSUER,)))
        trusts.put(transaction, AUTHOR, APP, TRUST)

    def create(self, name: str, **fields: object) -> Account:
        new = NewAccount(AccountName(name), **fields)  # type: ignore[arg-type]
        return accounts.create(self.transaction, AUTHOR, new)

    def create_team(self, name: str) -> Team:
        return teams.create(self.transaction, AUTHOR, self.acme, NewTeam(TeamName(name)))


def make_repository(transaction: WriteTransaction) -> int:
    """Create the repository, as the registry's own replay does, with the same id."""
    return repositories.create(transaction, APP, AUTHOR)


Act = Callable[[Organization, WriteTransaction], object]


def rename_user(org: Organization, transaction: WriteTransaction) -> None:
    teams.rename_member(transaction, org.rita, "margarita")
    accounts.rename(transaction, AUTHOR, org.rita, AccountName("margarita"))


def move_to_another_entry(org: Organization, transaction: WriteTransaction) -> None:
    new = msgspec.structs.replace(org.rita, directory_id="uuid-2")
    accounts.put(transaction, AUTHOR, org.rita, new)


def delete_user(org: Organization, transaction: WriteTransaction) -> None:
    teams.remove_member(transaction, AUTHOR, org.acme, org.readers, org.rita)
    accounts.delete(transaction, AUTHOR, org.rita)


def rename_team(org: Organization, transaction: WriteTransaction) -> None:
    new = msgspec.structs.replace(org.readers, name="pullers")
    teams.put(transaction, AUTHOR, org.acme, org.readers, new)


def save_directory(org: Organization, transaction: WriteTransaction) -> None:
    document = LdapSettings(
        server_urls=("ldaps://ldap.example",), user_sets=(UserSet(base_dn="dc=example"),)
    )
    settings.put(transaction, AUTHOR, document)


def change_and_reset_access(org: Organization, transaction: WriteTransaction) -> None:
    settings.put(transaction, AUTHOR, AccessSettings(create_on_push=False))
    settings.remove(transaction, AUTHOR, AccessSettings)


def replace_issuer(org: Organization, transaction: WriteTransaction) -> None:
    trusts.pin(transaction, AUTHOR)
    another = msgspec.structs.replace(ISSUER, url="https://another.example")
    settings.put(transaction, AUTHOR, OidcSettings((another,)))


ACTS: dict[str, Act] = {
    "nothing": lambda org, t: None,
    "a user is renamed": rename_user,
    "a user becomes another entry of the directory": move_to_another_entry,
    "a user is deleted": delete_user,
    "a user is made inactive": lambda org, t: accounts.put(
        t, AUTHOR, org.rita, msgspec.structs.replace(org.rita, is_active=False)
    ),
    "a member leaves": lambda org, t: teams.remove_member(
        t, AUTHOR, org.acme, org.readers, org.rita
    ),
    "a team is renamed": rename_team,
    "a team is deleted": lambda org, t: teams.delete(t, AUTHOR, org.acme, org.readers),
    "a grant is changed": lambda org, t: grants.put(
        t, AUTHOR, org.place, org.readers.id, Level.ADMIN
    ),
    "a grant is taken back": lambda org, t: grants.remove(t, AUTHOR, org.place, org.readers.id),
    "a token is revoked": lambda org, t: tokens.remove(t, AUTHOR, org.robot),
    "a trust is removed": lambda org, t: trusts.remove(t, AUTHOR, APP, "main"),
    "a trust is changed": lambda org, t: trusts.put(
        t, AUTHOR, APP, msgspec.structs.replace(TRUST, claims={"sub": "x"})
    ),
    "an issuer is replaced": replace_issuer,
    "the directory is set": save_directory,
    "settings are changed and reset": change_and_reset_access,
}


def rows(engine: MemoryEngine) -> dict[str, list[tuple[bytes, bytes]]]:
    with engine.read() as transaction:
        return {table.name: list(transaction.scan(table)) for table in REPAIRED}


def recorded(engine: MemoryEngine) -> list[ChangeRecord]:
    with engine.read() as transaction:
        return [changes.decode(value) for _, value in transaction.scan(CHANGES)]


def replayed(log: list[ChangeRecord]) -> tuple[MemoryEngine, set[int]]:
    """Replay a log into an index that has only the repository.

    Return the index, and the numbers of the changes that failed.
    """
    engine = MemoryEngine()
    engine.write(make_repository)
    return engine, replay_into(engine, log)


def replay_into(engine: MemoryEngine, log: list[ChangeRecord]) -> set[int]:
    replay, failed = Replay(), set()
    replay.read(log)
    for change in log:
        try:
            engine.write(partial(replay.apply, change=change))
        except DtrfastError:
            failed.add(change.sequence)
    return failed


@pytest.mark.parametrize("act", ACTS)
def test_a_replay_makes_the_same_rows(act: str) -> None:
    engine = MemoryEngine()
    engine.write(lambda transaction: ACTS[act](Organization(transaction), transaction))
    again, failed = replayed(recorded(engine))
    assert rows(again) == rows(engine)
    assert failed == set()


def test_the_password_to_search_with_is_empty_after_a_replay() -> None:
    """The log does not have it. The directory refuses until an administrator enters it again."""
    document = LdapSettings(
        server_urls=("ldaps://ldap.example",),
        user_sets=(UserSet(base_dn="dc=example"),),
        search_dn="cn=reader",
        search_password="secret",
    )
    engine = MemoryEngine()
    engine.write(lambda transaction: settings.put(transaction, AUTHOR, document))
    log = recorded(engine)
    assert "secret" not in str(log)
    again, _ = replayed(log)
    with again.read() as transaction:
        kept = settings.get(transaction, LdapSettings)
    assert kept == msgspec.structs.replace(document, search_password="")


def test_numbers_are_not_given_out_again_after_a_replay() -> None:
    engine = MemoryEngine()
    engine.write(Organization)
    again, _ = replayed(recorded(engine))
    with engine.read() as transaction:
        old = {account.id for account in accounts.scan(transaction)}
        old |= {team.id for _, team in teams.scan_all(transaction)}
    new = again.write(lambda t: accounts.create(t, AUTHOR, NewAccount(AccountName("new"))))
    assert new.id > max(old)


def test_a_change_of_something_else_is_left_to_the_registry() -> None:
    change = ChangeRecord(1, 7, "tag.set", "admin", "acme/app", {})
    assert not MemoryEngine().write(lambda transaction: Replay().apply(transaction, change))


def test_a_change_that_cannot_be_done_is_counted_and_stops_no_other_one() -> None:
    """A log that lost records: the last owner leaves before the next owner joins."""
    engine = MemoryEngine()

    def history(transaction: WriteTransaction) -> None:
        org = Organization(transaction)
        owners, owen = org.create_team("owners"), org.create("owen")
        teams.add_member(transaction, AUTHOR, org.acme, owners, owen)
        teams.add_member(transaction, AUTHOR, org.acme, owners, org.rita)
        teams.remove_member(transaction, AUTHOR, org.acme, owners, owen)
        org.create("late")

    engine.write(history)
    log = recorded(engine)
    leaving = next(change for change in log if change.kind == "member.remove")
    joining = [change for change in log if change.kind == "member.add"][-1]
    again, failed = replayed([change for change in log if change is not joining])
    assert failed == {leaving.sequence}
    with again.read() as transaction:
        assert accounts.find(transaction, "late") is not None


@pytest.mark.parametrize("lost", ["account.put", "team.put", "token.put"])
def test_changes_of_objects_that_the_log_has_lost_change_nothing(lost: str) -> None:
    """A log without its beginning has changes of accounts, teams and tokens that do not exist."""
    engine = MemoryEngine()

    def history(transaction: WriteTransaction) -> None:
        org = Organization(transaction)
        teams.remove_member(transaction, AUTHOR, org.acme, org.readers, org.rita)
        teams.delete(transaction, AUTHOR, org.acme, org.readers)
        tokens.remove(transaction, AUTHOR, org.robot)
        accounts.delete(transaction, AUTHOR, org.rita)

    engine.write(history)
    again, failed = replayed([change for change in recorded(engine) if change.kind != lost])
    assert failed == set()
    with again.read() as transaction:
        for table in (MEMBERS, TEAM_MEMBERS, USER_TEAMS, TOKENS, ACCOUNT_TOKENS):
            assert list(transaction.scan(table)) == []


def test_a_trust_of_a_repository_that_is_gone_is_left_out() -> None:
    engine = MemoryEngine()
    engine.write(Organization)
    again = MemoryEngine()
    assert replay_into(again, recorded(engine)) == set()
    assert rows(again)["trusts"] == []
