"""Repositories of one part: `HOST/nora` is the account nora's, and `HOST/tools` no account's."""

from __future__ import annotations

import pytest

from tests.api.managed.town import Town, basic, granted

NORA = "repositories/_/nora"
ACME = "repositories/_/acme"


def pulls(town: Town, who: str, name: str) -> int:
    return town.client.get(f"/v2/{name}/manifests/v1", headers=basic(who)).status_code


def names(town: Town, who: str, path: str) -> list[str]:
    found = town.api(who, "GET", path)["repositories"]
    return [f"{one['namespace']}/{one['name']}".lstrip("/") for one in found]


def test_a_push_to_ones_own_name_makes_a_repository_of_ones_own(town: Town) -> None:
    town.push("nora", b"collection", who="nora")
    made = town.api("nora", "GET", NORA)
    told = {key: made[key] for key in ("namespace", "namespaceType", "name", "accessLevel")}
    assert told == {
        "namespace": "",
        "namespaceType": "user",
        "name": "nora",
        "accessLevel": "admin",
    }
    assert pulls(town, "nora", "nora") == 200
    assert pulls(town, "rita", "nora") == pulls(town, "rita", "missing") == 404
    begin = town.client.post("/v2/nora/blobs/uploads/", headers=basic("rita"))
    assert begin.status_code == 404
    town.api("rita", "POST", "repositories/_", {"name": "owen"}, 403)
    town.api("nora", "PATCH", NORA, {"visibility": "public"})
    assert pulls(town, "rita", "nora") == 200
    town.api("nora", "PUT", f"{NORA}/userAccess/rita", {"accessLevel": "read-write"})
    town.push("nora", b"more", who="rita", tag="v2")
    town.api("rita", "DELETE", NORA, status=403)
    town.api("admin", "DELETE", "accounts/nora", status=409)
    town.api("nora", "DELETE", NORA, status=204)
    (trashed,) = town.api("nora", "GET", "trash")["repositories"]
    town.api("nora", "POST", f"trash/{trashed['id']}/restore", {})
    assert pulls(town, "nora", "nora") == 200


def test_tokens_and_scopes_name_it_as_any_other(town: Town) -> None:
    """docker asks for `repository:nora:pull,push` when it pushes `HOST/nora`."""
    scope = "repository:nora:pull,push"
    assert granted(town.token("nora", scope)) == {"nora": ["pull", "push"]}
    assert granted(town.token("rita", scope)) == {}
    scopes = [{"repository": "nora/*", "actions": ["pull", "push"]}]
    made = town.api(
        "nora", "POST", "accounts/nora/tokens", {"name": "below", "scopes": scopes}, 201
    )
    assert granted(town.token("nora", scope, password=made["token"])) == {}
    scopes = [{"repository": "nora", "actions": ["pull", "push"]}]
    made = town.api(
        "nora", "POST", "accounts/nora/tokens", {"name": "whole", "scopes": scopes}, 201
    )
    assert granted(town.token("nora", scope, password=made["token"])) == {"nora": ["pull", "push"]}


@pytest.mark.long
def test_an_organizations_owners_teams_and_robots_use_its_name(town: Town) -> None:
    town.push("acme", b"collection")
    assert pulls(town, "rita", "acme") == 404
    town.api("owen", "PUT", f"{ACME}/teamAccess/readers", {"accessLevel": "read-only"})
    assert pulls(town, "rita", "acme") == 200
    event = town.events.of("grant.set")[-1]
    assert (event.subject, event.detail["team"]) == ("acme", "readers")
    listed = town.api("rita", "GET", "accounts/acme/teams/readers/repositoryAccess")
    rows = [one["repository"]["name"] for one in listed["repositoryAccessList"]]
    assert rows == ["acme", "app"]
    town.api("owen", "DELETE", f"{ACME}/teamAccess/readers", status=204)
    assert pulls(town, "rita", "acme") == 404
    whole = "repositoryNamespaces/acme/teamAccess/readers"
    town.api("owen", "PUT", whole, {"accessLevel": "read-only"})
    assert pulls(town, "rita", "acme") == 200
    scopes = [{"repository": "acme", "actions": ["pull"]}]
    body = {"name": "ci", "scopes": scopes}
    robot = town.api("owen", "POST", "accounts/acme/robots", body, 201)
    wanted = ("repository:acme:pull", "repository:acme/app:pull")
    assert granted(town.token("acme+ci", *wanted, password=robot["token"])) == {"acme": ["pull"]}
    token = town.token("acme+ci", "registry:catalog:*", password=robot["token"])
    assert town.get("/v2/_catalog", token).json()["repositories"] == ["acme", "acme/open"]


@pytest.mark.long
def test_lists_have_it_with_its_account(town: Town) -> None:
    town.push("nora", b"whole", who="nora")
    town.push("nora/app", b"part", who="nora")
    town.push("acme", b"collection")
    town.api("admin", "PUT", "admin/settings/access", {"createNamespaceOnPush": True})
    for name in ("nora-1/app", "nora.2/app", "norab/app", "tools"):
        town.push(name, b"other", who="admin")
    for who in ("nora", "admin"):
        assert names(town, who, "repositories/nora") == ["nora", "nora/app"], who
        assert names(town, who, "repositories/nora?limit=1") == ["nora"], who
        assert names(town, who, "repositories/nora?start=nora/app") == ["nora/app"], who
        assert names(town, who, "repositories/nora?sort=-name") == ["nora/app", "nora"], who
    assert names(town, "nora", "repositories?owned=true") == ["nora", "nora/app"]
    assert names(town, "nora", "repositories") == ["acme/open", "nora", "nora/app"]
    assert town.client.get("/v2/_catalog", headers=basic("nora")).json()["repositories"] == [
        "acme/open",
        "nora",
        "nora/app",
    ]
    assert names(town, "admin", "repositories/_") == ["acme", "nora", "tools"]
    assert names(town, "nora", "repositories/_") == ["nora"]
    found = town.api("nora", "GET", "index/search?query=nora&namespace=nora")
    assert [one["name"] for one in found["repositoryResults"]] == ["nora", "app"]
    town.api(
        "owen", "PUT", "repositoryNamespaces/acme/teamAccess/readers", {"accessLevel": "admin"}
    )
    shared = names(town, "rita", "accounts/rita/sharedRepositories")
    assert shared == ["acme", "acme/app", "acme/open", "acme/secret"]
    town.api("nora", "PUT", f"{NORA}/userAccess/nora", {"accessLevel": "admin"})
    assert names(town, "nora", "accounts/nora/sharedRepositories") == []
    one = town.api("admin", "GET", f"{NORA}/usage")
    both = town.api("admin", "GET", "repositoryNamespaces/nora/usage")
    assert (one["manifests"], both["manifests"]) == (1, 2)
    access = town.api("admin", "GET", "accounts/nora/repositoryAccess/_/nora")
    assert access["accessLevel"] == "admin"


def test_a_name_of_no_account_is_the_registrys_own(town: Town) -> None:
    for name in ("tools", "library", "oidc"):
        for who in ("owen", "nora"):
            begin = town.client.post(f"/v2/{name}/blobs/uploads/", headers=basic(who))
            assert begin.status_code == 404, name
            town.api(who, "POST", "repositories/_", {"name": name}, 403)
        town.push(name, b"tool", who="admin")
        path = f"repositories/_/{name}"
        made = town.api("admin", "GET", path)
        assert (made["namespaceType"], made["accessLevel"]) == ("", "admin"), name
        town.api("admin", "PUT", f"{path}/userAccess/nora", {"accessLevel": "read-only"})
        assert pulls(town, "nora", name) == 200
        assert pulls(town, "rita", name) == 404


def test_an_account_gets_the_repository_of_its_name(town: Town) -> None:
    """The same holds for repositories below its name: the creator of accounts decides."""
    town.push("zoe", b"early", who="admin")
    town.add_users("zoe")
    assert pulls(town, "zoe", "zoe") == 200
    assert town.api("zoe", "GET", "repositories/_/zoe")["accessLevel"] == "admin"
