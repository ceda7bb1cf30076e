"""Further fields of lists of accounts: teams, the source of an account, and access levels."""

from __future__ import annotations

from dtrfast.identity import accounts
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.names import AccountName
from dtrfast.registry.writing import Author
from tests.api.managed.town import Town


def test_members_come_with_their_teams(town: Town) -> None:
    town.api("admin", "POST", "accounts", {"name": "other", "type": "organization"}, 201)
    town.api("admin", "PUT", "accounts/other/teams/owners/members/rita")
    town.api("owen", "PUT", "accounts/acme/teams/writers/members/rita")
    found = town.api("rita", "GET", "accounts/acme/members")["members"]
    teams = {member["name"]: member["teams"] for member in found}
    assert teams["rita"] == ["readers", "writers"]
    assert teams["owen"] == ["owners"]


def test_users_of_the_directory_can_be_listed(town: Town) -> None:
    new = NewAccount(AccountName("dirk"), directory_id="uuid-1")
    town.engine.write(lambda t: accounts.create(t, Author("system", town.clock()), new))

    def named(source: str) -> list[str]:
        found = town.api("admin", "GET", f"accounts?type=user&source={source}")
        return [account["name"] for account in found["accounts"]]

    assert named("ldap") == ["dirk"]
    assert "dirk" not in named("local")
    assert "admin" in named("local")
    assert set(named("")) == {*named("ldap"), *named("local")}


def test_shared_repositories_have_the_access_of_their_user(town: Town) -> None:
    for who in ("rita", "admin"):
        (shared,) = town.api(who, "GET", "accounts/rita/sharedRepositories")["repositories"]
        assert (shared["name"], shared["accessLevel"]) == ("app", "read-only")
    # An owner's repositories are its own, also with a grant to its team.
    town.api("admin", "PUT", "accounts/acme/teams/owners/members/rita")
    try:
        assert town.api("rita", "GET", "accounts/rita/sharedRepositories")["repositories"] == []
    finally:
        town.api("admin", "DELETE", "accounts/acme/teams/owners/members/rita", status=204)
