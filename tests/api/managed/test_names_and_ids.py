"""An account or repository that reuses a name gets none of its predecessor's rights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import msgspec
import pytest

from dtrfast.errors import Conflict, SignInFailed
from dtrfast.identity import accounts, settings, teams
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.events import EventWriter
from dtrfast.identity.ldap.settings import LdapSettings, UserSet
from dtrfast.identity.names import AccountName
from dtrfast.identity.sign_in import PASSWORD_SECONDS
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import (
    GRANTS,
    MANIFESTS_DELETED,
    REPOSITORIES_TRASHED,
    TAG_HISTORY,
    TRUSTS,
    number_key,
)
from dtrfast.oci.digests import Digest
from dtrfast.registry import ownership, removal
from dtrfast.registry.writing import Author
from tests.api.managed.test_trash import rows
from tests.api.managed.town import PASSWORD, Town, basic

# Read the kinds and actors of a repository's events as a user sees them, oldest first.
ReadEvents = Callable[[str, str], list[tuple[str, str]]]

SECRET = "repositories/acme/secret"
ISSUER = {"name": "ci", "url": "https://ci.example", "audience": "registry.example"}


def delete_organization(town: Town) -> str:
    """Delete acme with its repositories; returns the id of acme/secret in the trash."""
    for name in ("app", "open", "secret"):
        town.api("owen", "DELETE", f"repositories/acme/{name}", status=204)
    town.api("admin", "DELETE", "accounts/acme", status=204)
    (gone,) = (one for one in trash(town, "admin") if one["name"] == "secret")
    return str(gone["id"])


def make_organization(town: Town, owner: str = "nora") -> None:
    town.api("admin", "POST", "accounts", {"name": "acme", "type": "organization"}, 201)
    town.api("admin", "PUT", f"accounts/acme/teams/owners/members/{owner}")


def make_tools(town: Town) -> None:
    """Make a repository that belongs to the registry and not to an account, with an image."""
    town.api("admin", "POST", "repositories/tools", {"name": "hammer"}, 201)
    town.push("tools/hammer", b"hammer", who="admin")


def trash(town: Town, who: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = town.api(who, "GET", "trash")["repositories"]
    return found


def pull(town: Town, who: str, repository: str = "acme/secret") -> int:
    path = f"/v2/{repository}/manifests/v1"
    return town.client.get(path, headers=basic(who)).status_code


# ---- trash -------------------------------------------------------------------------------------
def test_the_next_owners_of_a_name_have_no_right_to_its_trash(town: Town) -> None:
    number = delete_organization(town)
    make_organization(town)
    assert trash(town, "nora") == []
    town.api("nora", "POST", f"trash/{number}/restore", {}, 404)
    town.api("nora", "POST", f"trash/{number}/restore", {"name": "nora/mine"}, 404)
    assert pull(town, "nora") == 404


@pytest.mark.long
def test_the_next_user_of_a_name_has_no_right_to_its_trash(town: Town) -> None:
    town.push("nora/app", b"nora's", who="nora")
    town.api("nora", "DELETE", "repositories/nora/app", status=204)
    number = trash(town, "nora")[0]["id"]
    town.api("admin", "DELETE", "accounts/nora", status=204)
    town.clock.advance(PASSWORD_SECONDS)
    town.add_users("nora")
    assert trash(town, "nora") == []
    town.api("nora", "POST", f"trash/{number}/restore", {}, 404)


def test_administrators_restore_the_trash_of_a_deleted_account(town: Town) -> None:
    number = delete_organization(town)
    assert {one["name"] for one in trash(town, "admin")} == {"app", "open", "secret"}
    assert {one["changesOwner"] for one in trash(town, "admin")} == {True}
    town.api("admin", "POST", f"trash/{number}/restore", {"name": "nora/secret"})
    assert pull(town, "nora", "nora/secret") == 200
    assert trash(town, "owen") == [], "the organization that owen owned is gone"


@pytest.mark.long
def test_a_repository_that_gets_another_owner_loses_its_grants_and_trusts(town: Town) -> None:
    town.api("admin", "PUT", "admin/settings/oidc", {"issuers": [ISSUER]})
    town.api("owen", "PUT", f"{SECRET}/trusts/main", {"issuer": "ci", "claims": {"sub": "x"}})
    town.api("owen", "PUT", f"{SECRET}/userAccess/rita", {"accessLevel": "read-write"})
    number = delete_organization(town)
    make_organization(town)
    town.api("admin", "POST", f"trash/{number}/restore", {})
    assert pull(town, "nora") == 200
    assert pull(town, "rita") == 404
    assert rows(town, TRUSTS) == rows(town, GRANTS) == 0


@pytest.mark.long
def test_a_repository_that_comes_back_to_its_owner_keeps_grants_under_another_name(
    town: Town,
) -> None:
    town.api("owen", "PUT", f"{SECRET}/userAccess/rita", {"accessLevel": "read-only"})
    town.api("owen", "DELETE", SECRET, status=204)
    (gone,) = trash(town, "owen")
    assert gone["changesOwner"] is False
    town.api("owen", "POST", f"trash/{gone['id']}/restore", {"name": "acme/kept"})
    assert pull(town, "rita", "acme/kept") == 200


@pytest.mark.long
def test_trash_of_a_name_of_the_registry_itself_is_not_for_a_later_account(town: Town) -> None:
    make_tools(town)
    town.api("admin", "DELETE", "repositories/tools/hammer", status=204)
    town.add_users("tools")
    assert trash(town, "tools") == []
    assert [one["name"] for one in trash(town, "admin")] == ["hammer"]


@pytest.mark.long
@pytest.mark.parametrize(("seconds", "seen"), [(0, 0), (60, 1)])
def test_trash_without_an_id_is_for_an_account_that_is_older(
    town: Town, seconds: int, seen: int
) -> None:
    """Records of an older version have only the name."""
    town.add_users("zoe")
    town.clock.advance(seconds)
    town.push("zoe/app", b"zoe's", who="zoe")
    town.api("zoe", "DELETE", "repositories/zoe/app", status=204)
    number = int(trash(town, "zoe")[0]["id"])

    def forget(transaction: WriteTransaction) -> None:
        key = number_key(number)
        kept = msgspec.msgpack.decode(transaction.get(REPOSITORIES_TRASHED, key) or b"")
        transaction.put(REPOSITORIES_TRASHED, key, msgspec.msgpack.encode(kept[:-1]))

    town.engine.write(forget)
    with town.engine.read() as transaction:
        assert removal.find_trashed(transaction, number).owner == ownership.UNKNOWN
    assert len(trash(town, "zoe")) == seen
    assert len(trash(town, "admin")) == 1


def delete_image(town: Town, who: str, repository: str) -> str:
    """Move a tag, then delete both of its images in one run; returns the run."""
    town.push(repository, b"first", who=who)
    town.push(repository, b"second", who=who)
    namespace, _, name = repository.partition("/")
    listed = town.api(who, "GET", f"repositories/{namespace}/{name}/manifests")["manifests"]
    body = {"references": [one["digest"] for one in listed]}
    done = town.api(who, "POST", f"repositories/{repository}/deletion", body)
    return str(done["run"])


@pytest.mark.parametrize("is_old", [False, True])
def test_an_account_gets_a_repository_without_what_was_deleted_in_it(
    town: Town, is_old: bool
) -> None:
    """The repository belonged to the registry before, so its trash is for system administrators."""
    make_tools(town)
    run, place = delete_image(town, "admin", "tools/hammer"), "repositories/tools/hammer"
    if is_old:
        town.engine.write(forget_owners)
    town.add_users("tools")
    found = town.api("tools", "GET", f"{place}/trash")
    assert found["manifests"] == found["tags"] == []
    states = town.api("tools", "GET", f"{place}/tags/v1/history")["states"]
    assert states == []
    town.api("tools", "POST", f"{place}/tags/v1/restore", {}, 404)
    town.api("tools", "POST", f"{place}/deletion/{run}/restore", status=404)
    (one, *_) = town.api("admin", "GET", f"{place}/trash")["manifests"]
    town.api("tools", "POST", f"{place}/manifests/{one['digest']}/restore", status=404)
    body = {"references": [one["digest"]]}
    town.api("tools", "POST", f"{place}/trash/restore", body, 404)
    body = {"references": [f"v1@{one['digest']}"]}
    town.api("tools", "POST", f"{place}/trash/restore", body, 404)
    town.api("admin", "POST", f"{place}/deletion/{run}/restore")


def forget_owners(transaction: WriteTransaction) -> None:
    """Rewrite rows of the trash in the format of older versions."""
    for table in (MANIFESTS_DELETED, TAG_HISTORY):
        for key, data in list(transaction.scan(table)):
            kept = msgspec.msgpack.decode(data)
            transaction.put(table, key, msgspec.msgpack.encode(kept[:-1]))


@pytest.mark.long
def test_rows_of_an_older_version_are_for_the_account_that_was_there(town: Town) -> None:
    town.clock.advance(60)
    run = delete_image(town, "owen", "acme/app")
    town.engine.write(forget_owners)
    town.api("owen", "POST", f"repositories/acme/app/deletion/{run}/restore")


# ---- events ------------------------------------------------------------------------------------
@pytest.fixture
def read_events(
    town: Town, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> ReadEvents:
    """Read the events of a repository that the log has so far."""

    def read(who: str, repository: str) -> list[tuple[str, str]]:
        folder = tmp_path_factory.mktemp("events") / "audit"
        writer = EventWriter(folder, 1 << 20)
        for event in town.events.all:
            writer.add(event)
        writer.close()
        monkeypatch.setattr(town.identity.reader, "_directory", folder)
        found = town.api(who, "GET", f"repositories/{repository}/events")["events"]
        return [(event["kind"], event["actor"]) for event in reversed(found)]

    return read


def make_again(town: Town) -> None:
    """Make acme/app again, with ada as its administrator like before."""
    town.push("acme/app", b"another")
    body = {"accessLevel": "admin"}
    town.api("owen", "PUT", "repositories/acme/app/teamAccess/admins", body)


def test_the_next_owners_of_a_name_see_no_events_of_its_repositories(
    town: Town, read_events: ReadEvents
) -> None:
    delete_organization(town)
    make_organization(town)
    town.push("acme/secret", b"nora's", who="nora")
    assert read_events("nora", "acme/secret") == [("push", "nora")]


@pytest.mark.long
def test_a_repository_of_the_same_name_has_events_of_its_own(
    town: Town, read_events: ReadEvents
) -> None:
    town.push("acme/app", b"changed", who="will")
    town.api("rita", "DELETE", "repositories/acme/app", status=403)
    town.api("owen", "DELETE", "repositories/acme/app", status=204)
    town.api("owen", "POST", "repositories/acme", {"name": "app"}, 201)
    make_again(town)
    seen = [("repository.create", "owen"), ("push", "owen"), ("grant.set", "owen")]
    assert read_events("ada", "acme/app") == read_events("admin", "acme/app") == seen


@pytest.mark.long
def test_equal_refusals_of_two_repositories_of_one_name_are_two_events(
    town: Town, read_events: ReadEvents
) -> None:
    def refuse() -> None:
        town.api("rita", "DELETE", "repositories/acme/app", status=403)

    refuse()
    town.api("owen", "DELETE", "repositories/acme/app", status=204)
    make_again(town)
    body = {"accessLevel": "read-only"}
    town.api("owen", "PUT", "repositories/acme/app/teamAccess/readers", body)
    refuse()
    assert read_events("ada", "acme/app")[-1] == ("refusal", "rita")


@pytest.mark.long
def test_a_restored_repository_has_its_events_under_any_name(
    town: Town, read_events: ReadEvents
) -> None:
    before = read_events("owen", "acme/app")
    town.api("owen", "DELETE", "repositories/acme/app", status=204)
    town.push("acme/app", b"another")
    (gone,) = trash(town, "owen")
    town.api("owen", "POST", f"trash/{gone['id']}/restore", {"name": "acme/old"})
    after = [("repository.delete", "owen"), ("repository.restore", "owen")]
    assert read_events("ada", "acme/old") == before + after
    assert read_events("owen", "acme/app") == [("push", "owen")]


@pytest.mark.long
def test_a_repository_that_gets_another_owner_shows_events_from_then_on(
    town: Town, read_events: ReadEvents
) -> None:
    number = delete_organization(town)
    make_organization(town)
    town.api("admin", "POST", f"trash/{number}/restore", {})
    assert read_events("nora", "acme/secret") == [("repository.restore", "admin")]
    assert ("push", "owen") in read_events("admin", "acme/secret")


@pytest.mark.long
def test_an_account_sees_no_events_from_before_its_name_was_one(
    town: Town, read_events: ReadEvents
) -> None:
    make_tools(town)
    town.add_users("tools")
    town.push("tools/hammer", b"nail", who="tools")
    assert read_events("tools", "tools/hammer") == [("push", "tools")]
    seen = [("repository.create", "admin"), ("push", "admin"), ("push", "tools")]
    assert read_events("admin", "tools/hammer") == seen


@pytest.mark.long
def test_events_of_a_team_or_an_account_are_not_those_of_a_repository(
    town: Town, read_events: ReadEvents
) -> None:
    before = read_events("ada", "acme/app")
    town.api("owen", "POST", "accounts/acme/teams", {"name": "app"}, 201)
    town.api("owen", "PUT", "accounts/acme/teams/app/members/nora")
    assert read_events("ada", "acme/app") == before
    town.push("acme", b"of the organization's name")
    town.api("owen", "PUT", "repositoryNamespaces/acme/teamAccess/app", {"accessLevel": "admin"})
    assert read_events("owen", "_/acme") == [("push", "owen")]


def test_events_without_ids_count_from_the_repository_and_its_account_on(
    town: Town, read_events: ReadEvents
) -> None:
    """Older versions recorded only a name."""
    town.clock.advance(60)
    delete_organization(town)
    make_organization(town)
    town.push("acme/secret", b"nora's", who="nora")
    town.clock.advance(60)
    town.push("acme/secret", b"nora's second", who="nora")
    town.api("nora", "POST", "accounts/acme/teams", {"name": "secret"}, 201)
    town.events.all = [
        msgspec.structs.replace(event, repository=None, owner=None) for event in town.events.all
    ]
    assert read_events("nora", "acme/secret") == [("push", "nora")]


# ---- credentials, memberships and uploads ------------------------------------------------------
def make_user_again(town: Town, name: str = "nora") -> None:
    """Delete a user, and make another one with the same name and password."""
    town.api("admin", "DELETE", f"accounts/{name}", status=204)
    town.clock.advance(PASSWORD_SECONDS)
    town.add_users(name)


def sign_in_with_refresh(town: Town, who: str) -> httpx.Response:
    form = {
        "grant_type": "password",
        "username": who,
        "password": PASSWORD,
        "access_type": "offline",
    }
    answer = town.client.post("/auth/token", data=form)
    assert answer.status_code == 200, answer.text
    return answer


def refresh(town: Town, token: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    return town.client.post("/auth/token", data=form)


@pytest.mark.long
def test_what_a_deleted_user_signed_in_with_is_of_no_use_to_the_next_one(town: Town) -> None:
    stored = town.api("nora", "POST", "accounts/nora/tokens", {"name": "t"}, 201)["token"]
    offline = sign_in_with_refresh(town, "nora").json()
    form = {"username": "nora", "password": PASSWORD}
    session = town.client.post("/api/v0/sessions", json=form).headers["set-cookie"]
    town.client.forget_cookies()
    make_user_again(town)
    for token in (stored, offline["token"]):
        assert town.get("/v2/", token).status_code == 401
    assert refresh(town, offline["refresh_token"]).status_code == 401
    cookie = session.partition(";")[0]
    answer = town.client.get("/api/v0/accounts/nora", headers={"cookie": cookie})
    assert answer.status_code == 401
    town.client.forget_cookies()
    assert town.api("nora", "GET", "accounts/nora/tokens")["credentials"] == []
    assert town.api("nora", "GET", "accounts/nora/sessions")["sessions"] == []


@pytest.mark.long
def test_grants_and_teams_of_a_deleted_user_are_not_the_next_ones(town: Town) -> None:
    town.api("owen", "PUT", f"{SECRET}/userAccess/nora", {"accessLevel": "read-only"})
    town.api("owen", "PUT", "accounts/acme/teams/writers/members/nora")
    assert pull(town, "nora") == pull(town, "nora", "acme/app") == 200
    make_user_again(town)
    assert pull(town, "nora") == pull(town, "nora", "acme/app") == 404
    town.api("owen", "GET", "accounts/acme/teams/writers/members/nora", status=404)
    assert town.api("owen", "GET", f"{SECRET}/userAccess")["userAccessList"] == []


@pytest.mark.long
def test_a_team_that_is_made_again_has_no_grants_and_no_members(town: Town) -> None:
    town.api("owen", "DELETE", "accounts/acme/teams/readers", status=204)
    town.api("owen", "POST", "accounts/acme/teams", {"name": "readers"}, 201)
    assert pull(town, "rita", "acme/app") == 404
    town.api("owen", "PUT", "accounts/acme/teams/readers/members/rita")
    assert pull(town, "rita", "acme/app") == 404


@pytest.mark.long
def test_a_robot_ends_with_its_organization(town: Town) -> None:
    scope = {"repository": "acme/*", "actions": ["pull", "push"]}
    body = {"name": "ci", "scopes": [scope]}
    robot = town.api("owen", "POST", "accounts/acme/robots", body, 201)["token"]
    headers = basic("acme+ci", robot)
    bearer = town.token("acme+ci", "repository:acme/app:pull", password=robot)
    delete_organization(town)
    make_organization(town)
    town.push("acme/app", b"nora's", who="nora")
    assert town.client.get("/v2/acme/app/manifests/v1", headers=headers).status_code == 401
    assert town.get("/v2/acme/app/manifests/v1", bearer).status_code == 401


@pytest.mark.long
def test_an_upload_of_a_deleted_user_is_not_the_next_ones(town: Town) -> None:
    path = "/v2/nora/app/blobs/uploads/"
    location = town.client.post(path, headers=basic("nora")).headers["location"]
    assert town.client.get(location, headers=basic("nora")).status_code == 204
    make_user_again(town)
    assert town.client.get(location, headers=basic("nora")).status_code == 404


@pytest.mark.long
def test_a_finished_upload_is_not_one_of_the_next_repository(town: Town) -> None:
    """A repeated closing PUT of it would say that the new repository has the blob."""
    headers = basic("owen")
    digest = Digest.of_bytes(b"mine")
    location = town.client.post("/v2/acme/app/blobs/uploads/", headers=headers).headers["location"]
    closing = partial(
        town.client.put, f"{location}?digest={digest}", headers=headers, content=b"mine"
    )
    assert closing().status_code == closing().status_code == 201
    town.api("owen", "DELETE", "repositories/acme/app", status=204)
    assert closing().status_code == 404
    town.push("acme/app", b"another")
    assert closing().status_code == 404


@pytest.mark.long
def test_sizes_of_a_repository_are_not_those_of_the_one_before(town: Town) -> None:
    town.api("admin", "GET", "repositories/acme/app/usage")
    town.api("owen", "DELETE", "repositories/acme/app", status=204)
    town.push("acme/app", b"another")
    names = {one["name"] for one in town.api("admin", "GET", "admin/usage")["usages"]}
    assert "acme/app" not in names


# ---- names that change -------------------------------------------------------------------------
def rename(town: Town, old: str, new: str) -> None:
    """Rename a user, as a synchronization with the directory does."""

    def change(transaction: WriteTransaction) -> None:
        account = accounts.get(transaction, old)
        teams.rename_member(transaction, account, new)
        accounts.rename(transaction, Author("system", 0), account, AccountName(new))

    town.engine.write(change)


@pytest.mark.long
def test_a_renamed_user_keeps_all_and_leaves_nothing_to_the_next_of_the_name(town: Town) -> None:
    town.push("nora/app", b"nora's", who="nora")
    town.api("nora", "DELETE", "repositories/nora/app", status=204)
    town.api("owen", "PUT", f"{SECRET}/userAccess/nora", {"accessLevel": "read-only"})
    offline = sign_in_with_refresh(town, "nora").json()
    rename(town, "nora", "leonora")
    assert town.get("/v2/", offline["token"]).status_code == 401, "the token has the former name"
    again = refresh(town, offline["refresh_token"])
    assert again.status_code == 200, "the sign-in goes on, under the new name"
    assert town.get("/v2/", again.json()["token"]).status_code == 200
    assert town.client.get("/v2/", headers=basic("leonora")).status_code == 200
    town.clock.advance(PASSWORD_SECONDS)
    assert town.client.get("/v2/", headers=basic("nora")).status_code == 401
    town.add_users("nora")
    assert trash(town, "nora") == []
    assert pull(town, "nora") == 404
    assert pull(town, "leonora") == 200
    (gone,) = trash(town, "leonora")
    town.api("leonora", "POST", f"trash/{gone['id']}/restore", {}, 404)
    town.api("leonora", "POST", f"trash/{gone['id']}/restore", {"name": "leonora/app"})


@pytest.mark.long
def test_a_password_that_is_remembered_is_not_good_under_a_former_name(town: Town) -> None:
    sign_in_with_refresh(town, "nora")
    rename(town, "nora", "leonora")
    assert town.ask_token("nora", "registry:catalog:*").status_code == 401
    assert town.ask_token("leonora", "registry:catalog:*").status_code == 200


class Entries:
    """A directory with one user, whose entry the test may exchange."""

    def __init__(self) -> None:
        self.stable_id = "entry-1"

    def verify(self, login: str, password: str, stable_id: str | None = None) -> bool:
        return (login, password, stable_id) == ("dora", "right", self.stable_id)


@pytest.mark.long
def test_another_entry_of_the_directory_is_not_let_in_as_the_former_one(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the next synchronization the account belongs to the former entry."""
    entries, sign_in, now = Entries(), town.identity.sign_in, town.clock()
    elsewhere = replace(sign_in._elsewhere, directory=lambda _: entries)
    monkeypatch.setattr(sign_in, "_elsewhere", elsewhere)

    def set_up(transaction: WriteTransaction) -> None:
        author = Author("system", now)
        sets = (UserSet(base_dn="dc=example"),)
        settings.put(transaction, author, LdapSettings(server_urls=("ldaps://x",), user_sets=sets))
        new = NewAccount(AccountName("dora"), directory_id="entry-1")
        accounts.create(transaction, author, new)

    town.engine.write(set_up)
    assert sign_in.password("dora", "right", "").actor == "dora"
    entries.stable_id = "entry-2"
    town.clock.advance(PASSWORD_SECONDS)
    with pytest.raises(SignInFailed):
        sign_in.password("dora", "right", "")


@pytest.mark.long
def test_a_renamed_user_gets_no_repositories_of_the_new_name(town: Town) -> None:
    make_tools(town)
    with pytest.raises(Conflict, match="which nora would get"):
        rename(town, "nora", "tools")
    assert pull(town, "nora", "tools/hammer") == 404


@pytest.mark.parametrize(("owner", "kind"), [("acme", "robots"), ("owen", "tokens")])
def test_a_name_that_is_another_ones_id_revokes_neither(town: Town, owner: str, kind: str) -> None:
    scopes = [{"repository": "acme/app", "actions": ["pull"]}]
    place = f"accounts/{owner}/{kind}"

    def make(name: str) -> str:
        made = town.api("owen", "POST", place, {"name": name, "scopes": scopes}, 201)
        return str(made["id"])

    def names() -> set[str]:
        return {one["name"] for one in town.api("owen", "GET", place)["credentials"]}

    number = make("deploy")
    other = make(number)
    refused = town.api("owen", "DELETE", f"{place}/{number}", status=409)
    assert f"say {other} or 'deploy'" in str(refused)
    assert names() == {"deploy", number}
    town.api("owen", "DELETE", f"{place}/{other}", status=204)
    assert names() == {"deploy"}
    town.api("owen", "DELETE", f"{place}/{number}", status=204)
    assert not names()
