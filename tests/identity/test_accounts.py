"""The rules of accounts, teams and credentials that hold for every caller."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from dtrfast.errors import (
    AccountInvalid,
    Conflict,
    Corrupt,
    CredentialUnknown,
    PasswordInvalid,
    SettingsInvalid,
)
from dtrfast.identity import accounts, passwords, records, sessions, settings, teams, tokens, trusts
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.callers import Caller, JobIdentity
from dtrfast.identity.grants import Level
from dtrfast.identity.names import AccountName, TeamName
from dtrfast.identity.oidc import Issuer, Trust, identity_of
from dtrfast.identity.records import Account, Team
from dtrfast.identity.sessions import NewSession
from dtrfast.identity.settings import AccessSettings, OidcSettings
from dtrfast.identity.teams import NewTeam
from dtrfast.identity.tokens import NewToken
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import ACCOUNT_SESSIONS, ACCOUNTS, SESSIONS, SETTINGS, TRUSTS, number_key
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.permits import NOTHING, SCOPED, Action
from dtrfast.registry.writing import Author
from tests.fakes.engine import MemoryEngine

AUTHOR = Author("admin", 1000)
APP = RepositoryName("acme/app")


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


def create(transaction: WriteTransaction, name: str, **fields: object) -> Account:
    new = NewAccount(AccountName(name), **fields)  # type: ignore[arg-type]
    return accounts.create(transaction, AUTHOR, new)


def create_team(engine: MemoryEngine, organization: Account, name: str) -> Team:
    new = NewTeam(TeamName(name))
    return engine.write(lambda t: teams.create(t, AUTHOR, organization, new))


# ---- accounts ----------------------------------------------------------------------------------
def test_an_organization_has_no_password(engine: MemoryEngine) -> None:
    acme = engine.write(lambda t: create(t, "acme", kind="organization"))
    with pytest.raises(AccountInvalid, match="acme is an organization, which has no password"):
        engine.write(lambda t: accounts.set_password(t, AUTHOR, acme, "hash"))


def test_the_password_of_the_directory_is_changed_there(engine: MemoryEngine) -> None:
    rita = engine.write(lambda t: create(t, "rita", directory_id="uuid-1"))
    with pytest.raises(Conflict, match="rita has the password of the LDAP directory"):
        engine.write(lambda t: accounts.set_password(t, AUTHOR, rita, "hash"))


def test_a_user_of_the_directory_is_found_by_its_id_until_that_changes(
    engine: MemoryEngine,
) -> None:
    rita = engine.write(lambda t: create(t, "rita", directory_id="uuid-1"))
    moved = msgspec.structs.replace(rita, directory_id="uuid-2")
    engine.write(lambda t: accounts.put(t, AUTHOR, rita, moved))
    with engine.read() as transaction:
        assert accounts.find_directory_id(transaction, "uuid-1") is None
        assert accounts.find_directory_id(transaction, "uuid-2") == moved
    engine.write(lambda t: accounts.delete(t, AUTHOR, moved))
    with engine.read() as transaction:
        assert accounts.find_directory_id(transaction, "uuid-2") is None


def test_a_name_that_is_taken_is_no_new_name(engine: MemoryEngine) -> None:
    rita = engine.write(lambda t: create(t, "rita"))
    engine.write(lambda t: create(t, "will"))
    with pytest.raises(Conflict, match="the name will is taken"):
        engine.write(lambda t: accounts.rename(t, AUTHOR, rita, AccountName("will")))


def test_an_account_with_repositories_keeps_its_name(engine: MemoryEngine) -> None:
    acme = engine.write(lambda t: create(t, "acme", kind="organization"))
    engine.write(lambda t: repositories.create(t, APP, AUTHOR))
    with pytest.raises(Conflict, match="acme has repositories"):
        engine.write(lambda t: accounts.rename(t, AUTHOR, acme, AccountName("other")))


def test_only_an_empty_registry_makes_its_first_administrator(engine: MemoryEngine) -> None:
    assert engine.write(lambda t: accounts.create_first(t, AUTHOR, "hash"))
    assert not engine.write(lambda t: accounts.create_first(t, AUTHOR, "other"))
    with engine.read() as transaction:
        (admin,) = accounts.scan(transaction)
        kept = accounts.password(transaction, admin)
    assert (admin.name, admin.is_admin) == ("admin", True)
    assert kept is not None
    assert kept.hash == "hash"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xc1", "a record of the kind account cannot be read"),
        (records.accounts.encode([2, 1, "rita", "user", 0]), "account is newer: run a newer"),
    ],
)
def test_a_record_that_cannot_be_understood_is_corrupt(
    engine: MemoryEngine, data: bytes, message: str
) -> None:
    engine.write(lambda t: t.put(ACCOUNTS, number_key(1), data))
    with engine.read() as transaction, pytest.raises(Corrupt, match=message):
        accounts.find_id(transaction, 1)


def test_the_length_of_a_password_is_bounded() -> None:
    longest = "ab1" * (passwords.LENGTH_MAX // 3)
    assert passwords.check_new(longest, "rita") == longest
    with pytest.raises(PasswordInvalid, match=f"at most {passwords.LENGTH_MAX} characters"):
        passwords.check_new(longest + "xyz", "rita")
    assert not passwords.verify(None, longest + "xyz")


# ---- teams -------------------------------------------------------------------------------------
def test_an_organization_has_so_many_teams(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "TEAMS_MAX", 2)
    acme = engine.write(lambda t: create(t, "acme", kind="organization"))
    other = engine.write(lambda t: create(t, "other", kind="organization"))
    for name in ("one", "two"):
        create_team(engine, acme, name)
    with pytest.raises(Conflict, match="acme has 2 teams: delete some first"):
        create_team(engine, acme, "three")
    create_team(engine, other, "three")


def test_a_user_of_two_teams_stays_in_the_organization_until_the_last_one(
    engine: MemoryEngine,
) -> None:
    acme = engine.write(lambda t: create(t, "acme", kind="organization"))
    rita = engine.write(lambda t: create(t, "rita"))
    first, second = create_team(engine, acme, "readers"), create_team(engine, acme, "writers")

    def is_in() -> bool:
        with engine.read() as transaction:
            return teams.is_in_organization(transaction, acme, rita)

    assert engine.write(lambda t: teams.add_member(t, AUTHOR, acme, first, rita))
    assert engine.write(lambda t: teams.add_member(t, AUTHOR, acme, second, rita))
    assert not engine.write(lambda t: teams.add_member(t, AUTHOR, acme, first, rita))
    assert engine.write(lambda t: teams.remove_member(t, AUTHOR, acme, first, rita))
    assert not engine.write(lambda t: teams.remove_member(t, AUTHOR, acme, first, rita))
    assert is_in()
    engine.write(lambda t: teams.delete(t, AUTHOR, acme, second))
    assert not is_in()


def test_teams_have_names_of_their_own_and_owners_keeps_its_name(engine: MemoryEngine) -> None:
    acme = engine.write(lambda t: create(t, "acme", kind="organization"))
    owners = create_team(engine, acme, teams.OWNERS)
    readers = create_team(engine, acme, "readers")

    def rename(team: Team, name: str) -> None:
        new = msgspec.structs.replace(team, name=name)
        engine.write(lambda t: teams.put(t, AUTHOR, acme, team, new))

    with pytest.raises(Conflict, match="acme has a team readers already"):
        create_team(engine, acme, "readers")
    with pytest.raises(Conflict, match="acme has a team owners already"):
        rename(readers, teams.OWNERS)
    with pytest.raises(Conflict, match="the team owners keeps its name"):
        rename(owners, "bosses")
    with pytest.raises(Conflict, match="the team owners stays as long as its organization"):
        engine.write(lambda t: teams.delete(t, AUTHOR, acme, owners))


# ---- credentials -------------------------------------------------------------------------------
def test_an_account_has_a_bounded_number_of_tokens_each_with_a_name(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "TOKENS_MAX", 2)
    rita = engine.write(lambda t: create(t, "rita"))

    def add(name: str) -> None:
        new = NewToken.make("personal", name)
        engine.write(lambda t: tokens.create(t, AUTHOR, rita, new))

    add("laptop")
    with pytest.raises(Conflict, match="rita has a personal token 'laptop' already"):
        add("laptop")
    add("desktop")
    with pytest.raises(Conflict, match="rita has 2 tokens: delete some first"):
        add("phone")
    with engine.read() as transaction:
        with pytest.raises(CredentialUnknown, match="rita has no personal token 'phone'"):
            tokens.get(transaction, rita, "personal", "phone")
        with pytest.raises(CredentialUnknown, match="rita has no robot token 'laptop'"):
            tokens.get(transaction, rita, "robot", "laptop")


def test_a_revoked_token_leaves_no_last_use(engine: MemoryEngine) -> None:
    """It was revoked after the sign-in, and before the use was written."""
    rita = engine.write(lambda t: create(t, "rita"))
    new = NewToken.make("personal", "laptop")
    token = engine.write(lambda t: tokens.create(t, AUTHOR, rita, new))
    engine.write(lambda t: tokens.remove(t, AUTHOR, token))
    engine.write(lambda t: tokens.note_use(t, token, 2000, "10.0.0.1"))
    with engine.read() as transaction:
        assert tokens.last_use(transaction, token.id) is None


@pytest.mark.parametrize("name", ["", "Deploy", "a b", "a" * 65, "-a"])
def test_a_robot_has_a_name_that_every_client_can_type(name: str) -> None:
    with pytest.raises(AccountInvalid, match="is not a name for a robot: use 1 to"):
        NewToken.make("robot", name)


def test_actions_of_a_token_are_known_words() -> None:
    assert tokens.parse_bound("acme/*", ["*"]).actions == int(SCOPED)
    assert tokens.action_names(int(Action.PULL | Action.PUSH)) == ["pull", "push"]
    for repository, actions, message in (
        ("acme/*", ["PULL"], "'PULL' is no action"),
        ("acme/*", ["pull", "admin"], "create a token without scopes"),
        ("acme/*", [], "say what the token may do in acme/"),
        ("acme*", ["pull"], "names no repositories"),
        ("acme/", ["pull"], "names no repositories"),
    ):
        with pytest.raises(AccountInvalid, match=message):
            tokens.parse_bound(repository, actions)


def test_a_level_is_a_known_word() -> None:
    assert Level.parse("read-write") is Level.READ_WRITE
    for text in ("none", "owner", ""):
        with pytest.raises(
            SettingsInvalid, match="is no level: use read-only, read-write or admin"
        ):
            Level.parse(text)


# ---- sessions ----------------------------------------------------------------------------------
def test_sessions_that_have_expired_go_when_others_open(engine: MemoryEngine) -> None:
    rita = engine.write(lambda t: create(t, "rita"))
    caller = Caller("user", "rita", "password", rita.id, rita.generation)
    now = 0
    for _ in range(60):
        now += sessions.LIFE_SECONDS + 1
        new = NewSession.make(caller, now, "10.0.0.1")
        engine.write(partial(sessions.open_session, new=new, now=now))
    with engine.read() as transaction:
        kept = len(list(transaction.scan(SESSIONS)))
        open_sessions = sessions.of_account(transaction, rita, now)
    assert kept < 30, "far fewer than were ever opened"
    assert [session.created_at for session in open_sessions] == [now]


def test_a_session_is_ended_by_its_name_and_by_its_user_only(engine: MemoryEngine) -> None:
    rita = engine.write(lambda t: create(t, "rita"))
    new = NewSession.make(Caller("user", "rita", "password", rita.id, 1), 1000, "10.0.0.1")
    engine.write(lambda t: sessions.open_session(t, new, 1000))
    name = sessions.name_of(new.id)
    with engine.read() as transaction:
        assert [one.id for one in sessions.of_account(transaction, rita, 1000)] == [name]
    assert not engine.write(lambda t: sessions.close_named(t, rita.id, "0" * len(name)))
    assert not engine.write(lambda t: sessions.close_named(t, rita.id + 1, name))
    assert engine.write(lambda t: sessions.close_named(t, rita.id, name))


def test_sessions_of_an_older_version_are_listed_bounded_and_ended(engine: MemoryEngine) -> None:
    rita = engine.write(lambda t: create(t, "rita"))
    caller = Caller("user", "rita", "password", rita.id, 1)
    old = [NewSession.make(caller, 1000 + n, "10.0.0.1") for n in range(sessions.SESSIONS_MAX + 3)]

    def keep(transaction: WriteTransaction) -> None:
        for one in old:  # not in the table by account, as in an older version
            transaction.put(SESSIONS, sessions._key(one.id), records.sessions.encode(one.record))

    engine.write(keep)
    with engine.read() as transaction:
        assert len(sessions.of_account(transaction, rita, 2000)) == len(old)
    assert engine.write(lambda t: sessions.close_named(t, rita.id, sessions.name_of(old[9].id)))
    new = NewSession.make(caller, 2000, "10.0.0.1")
    engine.write(lambda t: sessions.open_session(t, new, 2000))
    with engine.read() as transaction:
        found = [one.id for one in sessions.of_account(transaction, rita, 2000)]
        assert len(list(transaction.scan(SESSIONS))) == len(found) == sessions.SESSIONS_MAX
    assert found[0] == sessions.name_of(new.id)
    assert sessions.name_of(old[2].id) not in found
    assert engine.write(lambda t: sessions.close_session(t, new.id))
    with engine.read() as transaction:
        assert len(list(transaction.scan(ACCOUNT_SESSIONS))) == sessions.SESSIONS_MAX - 1


# ---- settings and trusts -----------------------------------------------------------------------
def test_settings_that_cannot_be_read_are_corrupt_and_go_back_to_defaults(
    engine: MemoryEngine,
) -> None:
    engine.write(lambda t: t.put(SETTINGS, b"access", b'{"createOnPush": "maybe"}'))
    with engine.read() as transaction, pytest.raises(Corrupt, match="the settings 'access'"):
        settings.read(transaction)
    assert engine.write(lambda t: settings.remove(t, AUTHOR, AccessSettings))
    assert not engine.write(lambda t: settings.remove(t, AUTHOR, AccessSettings))
    with engine.read() as transaction:
        assert settings.read(transaction) == AccessSettings()


def test_settings_that_make_no_sense_name_the_place() -> None:
    with pytest.raises(SettingsInvalid, match=r"Expected `int` >= 0 - at `\$.tokenDaysDefault`"):
        settings.convert({"tokenDaysDefault": -1}, AccessSettings)


def test_a_trust_gives_rights_in_its_own_repository_as_long_as_that_is_there(
    engine: MemoryEngine,
) -> None:
    trust = Trust(name="main", issuer="ci", claims={"sub": "x"})
    issuer = Issuer(name="ci", url="https://ci.example", audience="registry")
    job = JobIdentity(identity_of(issuer), identity_of(issuer, "x"), {"sub": "x"})
    engine.write(lambda t: settings.put(t, AUTHOR, OidcSettings((issuer,))))
    with engine.read() as transaction:
        assert trusts.rights(transaction, [(1, 1)], job, APP) == NOTHING
        assert trusts.letting_in(transaction, APP, issuer, job.claims) == []
    repository = engine.write(lambda t: repositories.create(t, APP, AUTHOR))
    engine.write(lambda t: trusts.put(t, AUTHOR, APP, trust))
    with engine.read() as transaction:
        number = trusts.get(transaction, repository, "main").id
        found = trusts.rights(transaction, [(repository, number)], job, APP)
        assert found == Action.PULL | Action.PUSH
        assert trusts.rights(transaction, [(repository + 1, number)], job, APP) == NOTHING
        assert trusts.rights(transaction, [(repository, number + 1)], job, APP) == NOTHING
    engine.write(lambda t: t.put(TRUSTS, number_key(repository) + b"main", b"{"))
    with engine.read() as transaction, pytest.raises(Corrupt, match="a trust cannot be read"):
        trusts.rights(transaction, [(repository, number)], job, APP)
