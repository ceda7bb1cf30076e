"""The plan of a synchronization, and its changes of a registry with a real directory."""

from __future__ import annotations

from collections.abc import Iterator

import ldap3
import msgspec
import pytest

from dtrfast.identity import passwords
from dtrfast.identity.ldap.people import DirectoryUser, People, SkippedEntry
from dtrfast.identity.ldap.settings import GroupRef, LdapSettings, UserSet
from dtrfast.identity.ldap.sync_plan import KnownAccount, Removal, plan
from dtrfast.identity.synchronization import synchronize_if_due
from dtrfast.identity.turnstile import Turnstile
from dtrfast.index.tables import CHANGES
from tests.api.managed.town import PASSWORD, Town, in_memory
from tests.identity.ldap.proxy import cutting
from tests.identity.ldap.slapd import (
    GROUPS,
    PEOPLE,
    STAFF,
    USERS,
    Slapd,
    password_of,
    user_dn,
)


# ---- deciding --------------------------------------------------------------------------------
def user(number: int, login: str = "", name: str = "") -> DirectoryUser:
    return DirectoryUser(f"id{number}", f"uid={number}", login or f"user{number}", name)


def account(
    number: int, name: str = "", stable_id: str | None = None, **more: bool
) -> KnownAccount:
    traits = {"is_active": True, "is_admin": False, **more}
    known = stable_id if stable_id is not None else f"id{number}"
    return KnownAccount(number, name or f"user{number}", known, full_name="", **traits)


def decide(
    users: list[DirectoryUser],
    known: list[KnownAccount],
    groups: dict[int, set[str]] | None = None,
    members: dict[int, set[str]] | None = None,
    admins: set[str] | None = None,
) -> list[str]:
    decided = plan(People(tuple(users), ()), known, groups or {}, members or {}, admins)
    return [" ".join(line.values()) for line in decided.describe({1: "acme/dev"})]


def test_a_share_is_exceeded_by_more_than_itself_only() -> None:
    for percent in range(101):
        share = percent / 100
        most = max(2, percent)
        assert Removal("", ("x",) * most, 100).is_within(share), percent
        assert percent == 100 or not Removal("", ("x",) * (most + 1), 100).is_within(share), percent


def test_nothing_changes_when_both_agree() -> None:
    assert decide([user(1)], [account(1), account(9, "root", "")]) == []


def test_new_users_get_accounts() -> None:
    assert decide([user(1)], []) == ["create user1 uid=1"]


def test_who_vanished_is_made_inactive_once() -> None:
    assert decide([user(1)], [account(1), account(2)]) == ["deactivate user2"]
    assert decide([user(1)], [account(1), account(2, is_active=False)]) == []


def test_who_is_back_is_active_again() -> None:
    assert decide([user(1)], [account(1, is_active=False)]) == ["activate user1"]


def test_a_rename_is_no_new_account() -> None:
    assert decide([user(1, "other")], [account(1)]) == ["rename user1 other"]


def test_two_may_swap_their_names() -> None:
    lines = decide([user(1, "user2"), user(2, "user1")], [account(1), account(2)])
    assert lines == ["rename user1 user2", "rename user2 user1"]


def test_a_local_account_is_never_taken_over() -> None:
    (line,) = decide([user(1, "root")], [account(9, "root", "")])
    assert line == "conflict uid=1 root is the name of a local account"
    lines = decide([user(1, "root")], [account(9, "root", ""), account(1)])
    assert lines == ["conflict uid=1 root is the name of a local account"]


def test_members_come_and_go() -> None:
    users, known = [user(1), user(2), user(3)], [account(1), account(2)]
    lines = decide(users, known, {1: {"id1", "id3"}}, {1: {"id1", "id2"}})
    assert lines == [
        "create user3 uid=3",
        "remove member user2 acme/dev",
        "add member user3 acme/dev",
    ]


def test_administrators() -> None:
    known = [account(1), account(2, is_admin=True)]
    assert decide([user(1), user(2)], known) == []
    assert decide([user(1), user(2)], known, admins={"id1"}) == [
        "make administrator user1",
        "make ordinary user user2",
    ]


def test_who_is_skipped_is_told() -> None:
    people = People((), (SkippedEntry("uid=x", "why not"),))
    (line,) = plan(people, [], {}, {}, None).describe({})
    assert line == {"change": "skip", "dn": "uid=x", "reason": "why not"}


# ---- writing ---------------------------------------------------------------------------------
@pytest.fixture
def town() -> Iterator[Town]:
    with in_memory() as town:
        yield town


def few(slapd: Slapd, **changes: object) -> LdapSettings:
    """Return settings with four of the users, so that most tests are quick."""
    sets = (UserSet(base_dn=PEOPLE, filter="(|(uid=user1)(uid=user2)(uid=user3)(uid=user11))"),)
    return slapd.settings(**{"user_sets": sets, **changes})


def set_up(town: Town, settings: LdapSettings) -> None:
    document = msgspec.to_builtins(settings)
    shown = town.api("admin", "PUT", "admin/settings/ldap", document)
    assert shown["searchPassword"] == "(hidden)"


def sync(town: Town, **wish: bool) -> list[str]:
    answer = town.api("admin", "POST", "admin/ldap/sync", wish)
    return [" ".join(line.values()) for line in answer["changes"]]


def names(town: Town, path: str) -> list[str]:
    return [member["name"] for member in town.api("admin", "GET", path)["members"]]


@pytest.mark.slow
def test_a_dry_run_says_what_a_synchronisation_does(town: Town, slapd: Slapd) -> None:
    set_up(town, few(slapd))
    lines = sync(town, dryRun=True)
    assert len(lines) == 4
    assert town.ask("admin", "GET", "accounts/user1").status_code == 404
    assert sync(town) == lines
    assert sync(town) == []
    assert town.api("admin", "GET", "accounts/user1")["ldapLogin"] == "user1"
    assert town.ask_token("user1", password=password_of(1)).status_code == 200
    assert town.ask_token("user1", password=password_of(2)).status_code == 401
    assert town.ask_token("user1", password="").status_code == 401


@pytest.mark.slow
def test_everybody(town: Town, slapd: Slapd) -> None:
    body = {"name": "all", "type": "ldap", "ldapDN": f"cn=all,{GROUPS}"}
    town.api("owen", "POST", "accounts/acme/teams", body, 201)
    set_up(town, slapd.settings(admin_group=GroupRef(dn=f"cn=bosses,{GROUPS}")))
    assert len(sync(town)) == 2 * USERS
    page = town.api("admin", "GET", "accounts/acme/teams/all/members?limit=1000")
    assert len(page["members"]) == 1000
    assert page["nextPageStart"]
    assert town.api("admin", "GET", "accounts/user0")["isAdmin"]
    assert sync(town) == []


@pytest.mark.slow
def test_teams_are_groups(town: Town, slapd: Slapd) -> None:
    body = {"name": "few", "type": "ldap", "ldapDN": f"cn=outer,{GROUPS}"}
    town.api("owen", "POST", "accounts/acme/teams", body, 201)
    body = {"accessLevel": "read-only"}
    town.api("owen", "PUT", "repositories/acme/app/teamAccess/few", body)
    set_up(town, few(slapd))
    sync(town)
    assert names(town, "accounts/acme/teams/few/members") == ["user11"]
    token = town.token("user11", "repository:acme/app:pull", password=password_of(11))
    assert town.get("/v2/acme/app/manifests/v1", token).status_code == 200
    refused = town.ask("owen", "PUT", "accounts/acme/teams/few/members/rita")
    assert refused.status_code == 409


@pytest.mark.slow
def test_renamed_moved_and_vanished(town: Town, slapd: Slapd) -> None:
    wide = UserSet(base_dn="dc=example,dc=org", filter="(sn=user2*)")
    set_up(town, slapd.settings(user_sets=(wide,)))
    sync(town)
    before = town.api("admin", "GET", "accounts/user2")["id"]
    town.push("user2/app", b"x", "admin")
    town.api("owen", "PUT", "accounts/acme/teams/readers/members/user25")
    with slapd.admin() as connection:
        connection.modify_dn(user_dn(25), "uid=renamed25", new_superior=STAFF)
        connection.modify_dn(user_dn(2), "uid=user2", new_superior=STAFF)
        try:
            assert sync(town) == ["rename user25 renamed25"]
            assert town.api("admin", "GET", "accounts/user2")["id"] == before
            assert "renamed25" in names(town, "accounts/acme/teams/readers/members")
            assert town.ask_token("renamed25", password=password_of(25)).status_code == 200
            narrow = UserSet(base_dn=PEOPLE, filter="(sn=user2*)")
            set_up(town, slapd.settings(user_sets=(narrow,)))
            assert sorted(sync(town)) == ["deactivate renamed25", "deactivate user2"]
            assert town.ask_token("user2", password=password_of(2)).status_code == 401
        finally:
            connection.modify_dn(f"uid=user2,{STAFF}", "uid=user2", new_superior=PEOPLE)
            connection.modify_dn(f"uid=renamed25,{STAFF}", "uid=user25", new_superior=PEOPLE)
    assert sorted(sync(town)) == ["activate renamed25", "activate user2", "rename renamed25 user25"]


@pytest.mark.slow
@pytest.mark.parametrize("bytes_max", [14, 60_000])
def test_a_directory_that_is_cut_off_changes_nothing(
    town: Town, slapd: Slapd, bytes_max: int
) -> None:
    set_up(town, slapd.settings())
    with cutting(slapd.port, bytes_max) as url:
        set_up(town, slapd.settings(server_urls=(url,)))
        answer = town.ask("admin", "POST", "admin/ldap/sync", {})
    assert answer.status_code == 503
    assert town.ask("admin", "GET", "accounts/user1").status_code == 404


@pytest.mark.slow
def test_an_outage_does_not_stop_who_signed_in_lately(town: Town, slapd: Slapd) -> None:
    set_up(town, few(slapd))
    sync(town)
    assert town.ask_token("user1", password=password_of(1)).status_code == 200
    secret = town.api("admin", "POST", "accounts/user2/tokens", {"name": "ci"}, 201)["token"]
    slapd.stop()
    try:
        town.clock.advance(600)
        assert town.ask_token("user1", password=password_of(1)).status_code == 200
        assert town.ask_token("user1", password="wrong").status_code == 401
        assert town.ask_token("user3", password=password_of(3)).status_code == 503
        assert town.ask_token("user2", password=secret).status_code == 200
        assert town.ask_token("admin", password=PASSWORD).status_code == 200  # a local account
        town.clock.advance(3600)
        assert town.ask_token("user1", password=password_of(1)).status_code == 503
    finally:
        slapd.start_again()
    assert town.ask_token("user1", password=password_of(1)).status_code == 200


@pytest.mark.slow
def test_a_right_password_counts_where_there_is_no_room_to_keep_its_hash(
    town: Town, slapd: Slapd, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(town, few(slapd))
    sync(town)
    full = Turnstile(1, 1, 0.0)
    monkeypatch.setattr(passwords, "_turnstile", full)
    with full.passed():
        assert town.ask_token("user1", password=password_of(1)).status_code == 200


@pytest.mark.slow
def test_a_password_changed_in_the_directory_ends_the_old_one(town: Town, slapd: Slapd) -> None:
    set_up(town, few(slapd))
    sync(town)
    assert town.ask_token("user1", password=password_of(1)).status_code == 200
    with slapd.admin() as connection:
        change = {"userPassword": [(ldap3.MODIFY_REPLACE, ["changed"])]}
        connection.modify(user_dn(1), change)  # type: ignore[no-untyped-call]
        try:
            town.clock.advance(61)
            assert town.ask_token("user1", password=password_of(1)).status_code == 401
            assert town.ask_token("user1", password="changed").status_code == 200
        finally:
            change["userPassword"] = [(ldap3.MODIFY_REPLACE, [password_of(1)])]
            connection.modify(user_dn(1), change)  # type: ignore[no-untyped-call]


@pytest.mark.slow
def test_try_login(town: Town, slapd: Slapd) -> None:
    set_up(town, few(slapd))
    for name, password, ok, message in (
        ("user1", password_of(1), True, "the password is right, and went over the network"),
        ("user1", "wrong", False, "the password is wrong"),
        ("user4", password_of(4), False, "no user set has this login"),
    ):
        body = {"username": name, "password": password}
        answer = town.api("admin", "POST", "admin/ldap/tryLogin", body)
        assert answer["ok"] is ok
        assert answer["message"].startswith(message)
    assert town.ask("admin", "GET", "accounts/user1").status_code == 404


@pytest.mark.slow
def test_settings_are_tried_before_they_are_saved(town: Town, slapd: Slapd) -> None:
    document = msgspec.to_builtins(few(slapd))
    body = {**document, "username": "user1", "password": password_of(1)}
    answer = town.api("admin", "POST", "admin/settings/ldap/test", body)
    assert answer["tried"]["ok"]
    assert answer["synchronised"]["dryRun"]
    changes = answer["synchronised"]["changes"]
    assert len([change for change in changes if change["change"] == "create"]) == 4
    assert town.ask("admin", "GET", "accounts/user1").status_code == 404
    assert town.ask("admin", "GET", "admin/settings/ldap").status_code == 404
    assert town.ask("owen", "POST", "admin/settings/ldap/test", body).status_code == 403
    # After the save, the hidden password stands for the stored one.
    town.api("admin", "PUT", "admin/settings/ldap", document)
    hidden = {**document, "searchPassword": "(hidden)"}
    again = town.api("admin", "POST", "admin/settings/ldap/test", hidden)
    assert (again["tried"], again["synchronised"]["error"]) == (None, "")


@pytest.mark.slow
def test_the_password_to_search_with_stays_hidden(town: Town, slapd: Slapd) -> None:
    set_up(town, few(slapd))
    document = town.api("admin", "GET", "admin/settings/ldap")
    document["syncIntervalSeconds"] = 60
    town.api("admin", "PUT", "admin/settings/ldap", document)
    assert len(sync(town, dryRun=True)) == 4  # the old password is still in use
    with town.engine.read() as transaction:
        rows = [row for _, row in transaction.scan(CHANGES)]
    assert not any(b'"reader"' in row for row in rows)
    for who in ("owen", ""):
        assert town.ask(who, "GET", "admin/settings/ldap").status_code in (401, 403)


@pytest.mark.slow
def test_it_synchronises_by_itself(town: Town, slapd: Slapd) -> None:
    set_up(town, few(slapd))
    assert synchronize_if_due(town.engine, town.events, town.clock)
    assert not synchronize_if_due(town.engine, town.events, town.clock)
    town.clock.advance(3600)
    slapd.stop()
    try:
        assert synchronize_if_due(town.engine, town.events, town.clock)
        assert "does not answer" in town.api("admin", "GET", "admin/ldap/sync")["error"]
    finally:
        slapd.start_again()
    town.clock.advance(3600)
    assert synchronize_if_due(town.engine, town.events, town.clock)
    assert town.api("admin", "GET", "admin/ldap/sync")["error"] == ""
    assert [event.outcome for event in town.events.of("ldap.sync")] == ["ok", "failed", "ok"]


# ---- missing is not empty ------------------------------------------------------------------------
def follow(town: Town, name: str, group: str) -> None:
    """Create a team of acme with the members of a group."""
    body = {"name": name, "type": "ldap", "ldapDN": f"cn={group},{GROUPS}"}
    town.api("owen", "POST", "accounts/acme/teams", body, 201)


@pytest.mark.slow
def test_the_attribute_of_a_team_is_one(town: Town, slapd: Slapd) -> None:
    body = {"type": "ldap", "ldapDN": f"cn=unix,{GROUPS}", "ldapGroupMemberAttribute": "member uid"}
    assert town.ask("owen", "PATCH", "accounts/acme/teams/readers", body).status_code == 400
    body["ldapGroupMemberAttribute"] = ""
    team = town.api("owen", "PATCH", "accounts/acme/teams/readers", body)
    assert team["ldapGroupMemberAttribute"] == "member"
    set_up(town, few(slapd))
    sync(town)
    assert problems(town) == ["team acme/readers cn=unix"]


def problems(town: Town) -> list[str]:
    """Return the problems of the last synchronization, as subjects and names."""
    found = town.api("admin", "GET", "admin/ldap/sync")["problems"]
    return [f"{problem['subject']} {problem['dn'].partition(',')[0]}" for problem in found]


@pytest.mark.slow
@pytest.mark.parametrize("renamed", ["outer", "inner"])
def test_a_group_that_is_renamed_leaves_its_team(town: Town, slapd: Slapd, renamed: str) -> None:
    """The renamed group is the group of the team, or a nested group that was there before."""
    follow(town, "few", "outer")
    set_up(town, slapd.settings(user_sets=(UserSet(base_dn=PEOPLE, filter="(sn=user1*)"),)))
    sync(town)
    before = names(town, "accounts/acme/teams/few/members")
    assert before == ["user10", "user11", "user12"]
    with slapd.admin() as connection:
        connection.modify_dn(f"cn={renamed},{GROUPS}", "cn=renamed")
        try:
            for _ in range(2):
                sync(town)
                assert names(town, "accounts/acme/teams/few/members") == before
                assert problems(town) == ["team acme/few cn=outer"]
            if renamed == "inner":
                sync(town, allowRemovals=True)
                assert names(town, "accounts/acme/teams/few/members") == ["user10"]
        finally:
            connection.modify_dn(f"cn=renamed,{GROUPS}", f"cn={renamed}")
    sync(town)
    assert problems(town) == []
    assert names(town, "accounts/acme/teams/few/members") == before
    outcomes = [event.outcome for event in town.events.of("ldap.sync")]
    assert outcomes[:3] == ["ok", "failed", "failed"]


@pytest.mark.slow
def test_the_housekeeper_never_allows_removals(town: Town, slapd: Slapd) -> None:
    set_up(town, slapd.settings(user_sets=(UserSet(base_dn=PEOPLE, filter="(sn=user1*)"),)))
    sync(town)
    set_up(town, slapd.settings(user_sets=(UserSet(base_dn=PEOPLE, filter="(sn=user12*)"),)))
    town.clock.advance(3600)
    synchronize_if_due(town.engine, town.events, town.clock)
    answer = town.ask("admin", "POST", "admin/ldap/sync", {})
    assert answer.status_code == 409
    assert "1000 of 1111 (user1, user10" in answer.json()["errors"][0]["message"]
    assert town.api("admin", "GET", "accounts/user1")["isActive"]
    shown = town.api("admin", "GET", "admin/ldap/sync")
    assert "--allow-removals" in shown["error"]
    assert len(shown["changes"]) == 1000
    assert [event.outcome for event in town.events.of("ldap.sync")] == ["ok", "failed", "failed"]
    sync(town, allowRemovals=True)
    assert not town.api("admin", "GET", "accounts/user1")["isActive"]


@pytest.mark.slow
def test_an_attribute_that_is_hidden_now_takes_no_account_away(town: Town, slapd: Slapd) -> None:
    """One user's login is hidden, and another's id. Both are in a team; one is an administrator."""
    follow(town, "few", "few")
    admins = GroupRef(dn=f"cn=few,{GROUPS}")
    sets = (UserSet(base_dn=PEOPLE, filter="(|(sn=user1)(sn=user2)(sn=user3)(sn=user4))"),)
    set_up(town, slapd.settings(user_sets=sets, admin_group=admins))
    sync(town)
    blind = {"search_dn": "cn=blind,dc=example,dc=org", "search_password": "blind"}
    set_up(town, slapd.settings(user_sets=sets, admin_group=admins, **blind))
    assert [line for line in sync(town) if not line.startswith("unknown members")] == []
    assert sorted(problems(town)) == ["account user2 uid=user2", "account user3 uid=user3"]
    users = [f"user{number}" for number in (1, 2, 3, 4)]
    assert names(town, "accounts/acme/teams/few/members") == users
    tried = {"username": "user3", "password": password_of(3)}
    answer = town.api("admin", "POST", "admin/ldap/tryLogin", tried)
    assert (answer["ok"], "shows no entryUUID" in answer["message"]) == (False, True)
    accounts = [town.api("admin", "GET", f"accounts/{name}") for name in users]
    assert all(account["isActive"] and account["isAdmin"] for account in accounts)
