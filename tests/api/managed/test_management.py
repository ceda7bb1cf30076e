"""The management API beyond rights: accounts, teams, lists, events, and invariants."""

from __future__ import annotations

import msgspec
import pytest

from dtrfast.identity.events import EventWriter
from tests.api.managed.town import Town, basic


def test_the_last_administrator_stays(town: Town) -> None:
    for method, path, body in (
        ("DELETE", "accounts/admin", None),
        ("PUT", "accounts/admin/deactivate", None),
        ("PATCH", "accounts/admin", {"isAdmin": False}),
    ):
        assert town.ask("admin", method, path, body).status_code == 409
    town.api("admin", "PATCH", "accounts/nora", {"isAdmin": True})
    town.api("admin", "PATCH", "accounts/admin", {"isAdmin": False})
    assert town.ask("admin", "PATCH", "accounts/nora", {"isAdmin": False}).status_code == 403


def test_the_last_owner_stays(town: Town) -> None:
    for path in (
        "accounts/acme/teams/owners/members/owen",
        "accounts/acme/members/owen",
        "accounts/owen",
        "accounts/acme/teams/owners",
    ):
        assert town.ask("admin", "DELETE", path).status_code == 409
    rename = {"name": "others"}
    assert town.ask("owen", "PATCH", "accounts/acme/teams/owners", rename).status_code == 409
    town.api("owen", "PUT", "accounts/acme/teams/owners/members/nora")
    town.api("nora", "DELETE", "accounts/acme/teams/owners/members/owen", status=204)
    assert town.ask("owen", "POST", "accounts/acme/teams", {"name": "x"}).status_code == 403


def test_an_account_with_repositories_stays(town: Town) -> None:
    assert town.ask("admin", "DELETE", "accounts/acme").status_code == 409
    for name in ("app", "open", "secret"):
        town.api("owen", "DELETE", f"repositories/acme/{name}", status=204)
    town.api("admin", "DELETE", "accounts/acme", status=204)
    assert town.ask("owen", "GET", "accounts/acme").status_code == 404
    assert town.api("owen", "GET", "accounts/owen/organizations")["organizations"] == []


def test_a_name_that_comes_back_has_nothing_of_the_old_one(town: Town) -> None:
    town.api("ada", "PUT", "repositories/acme/app/userAccess/nora", {"accessLevel": "admin"})
    token = town.api("nora", "POST", "accounts/nora/tokens", {"name": "x"}, 201)["token"]
    town.api("admin", "DELETE", "accounts/nora", status=204)
    body = {"name": "nora", "password": "another battery"}
    town.api("admin", "POST", "accounts", body, 201)
    again = basic("nora", "another battery")
    assert town.client.get("/v2/acme/app/manifests/v1", headers=again).status_code == 404
    assert town.client.get("/v2/", headers=basic("nora", token)).status_code == 401


def test_organizations_of_a_user_and_those_that_the_user_owns(town: Town) -> None:
    names = {
        (user, query): [
            one["name"]
            for one in town.api(user, "GET", f"accounts/{user}/organizations{query}")[
                "organizations"
            ]
        ]
        for user in ("owen", "rita")
        for query in ("", "?owned=true", "?owned=false")
    }
    assert names == {
        ("owen", ""): ["acme"],
        ("owen", "?owned=true"): ["acme"],
        ("owen", "?owned=false"): ["acme"],
        ("rita", ""): ["acme"],
        ("rita", "?owned=true"): [],
        ("rita", "?owned=false"): ["acme"],
    }


def test_members_and_teams(town: Town) -> None:
    members = town.api("rita", "GET", "accounts/acme/members")["members"]
    assert [member["name"] for member in members] == ["ada", "owen", "rita", "will"]
    assert town.ask("nora", "GET", "accounts/acme/members").status_code == 403
    assert town.api("owen", "GET", "accounts/acme/members/owen")["isOwner"]
    assert not town.api("owen", "GET", "accounts/acme/members/rita")["isOwner"]
    teams = town.api("owen", "GET", "accounts/acme/members/rita/teams")["teams"]
    assert [team["name"] for team in teams] == ["readers"]
    town.api("owen", "DELETE", "accounts/acme/members/rita", status=204)
    assert town.ask("owen", "GET", "accounts/acme/members/rita").status_code == 404
    town.api("owen", "PATCH", "accounts/acme/teams/writers", {"name": "builders"})
    assert town.ask("owen", "GET", "accounts/acme/teams/writers").status_code == 404
    token = town.token("will", "repository:acme/app:pull,push")
    assert town.get("/v2/acme/app/manifests/v1", token).status_code == 200
    access = town.api("owen", "GET", "accounts/acme/teams/builders/repositoryAccess")
    assert [a["accessLevel"] for a in access["repositoryAccessList"]] == ["read-write"]


def test_lists_come_in_pages(town: Town) -> None:
    names, start = [], ""
    while True:
        page = town.api("admin", "GET", f"accounts?limit=2&start={start}")
        names += [account["name"] for account in page["accounts"]]
        start = page["nextPageStart"]
        if not start:
            break
    assert names == sorted(["acme", "ada", "admin", "nora", "owen", "rita", "will"])
    only = town.api("admin", "GET", "accounts?type=organization")["accounts"]
    assert [account["name"] for account in only] == ["acme"]
    assert town.ask("admin", "GET", "accounts?limit=-1").status_code == 400
    assert town.api("admin", "GET", "accounts?limit=0")["accounts"] == []
    assert len(town.api("admin", "GET", "accounts?limit=99999999")["accounts"]) == 7


def test_repositories_with_slashes_and_without_a_namespace(town: Town) -> None:
    town.push("acme/deep/app", b"x", "owen")
    town.push("alpine", b"x", "admin")
    assert town.ask("owen", "POST", "repositories/_", {"name": "x"}).status_code == 403
    deep = town.api("owen", "GET", "repositories/acme/deep%2Fapp")
    assert (deep["namespace"], deep["name"]) == ("acme", "deep/app")
    tags = town.api("owen", "GET", "repositories/acme/deep%2Fapp/tags")
    assert (tags["name"], tags["tags"][0]["name"]) == ("acme/deep/app", "v1")
    assert town.api("admin", "GET", "repositories/_/alpine")["namespace"] == ""
    found = town.api("owen", "GET", "repositories/acme")["repositories"]
    assert [r["name"] for r in found] == ["app", "deep/app", "open", "secret"]
    page = town.api("owen", "GET", "repositories/acme?limit=2")
    assert page["nextPageStart"] == "acme/open"
    rest = town.api("owen", "GET", "repositories/acme?start=acme/open")["repositories"]
    assert [r["name"] for r in rest] == ["open", "secret"]
    rooted = town.api("admin", "GET", "repositories/_")["repositories"]
    assert [r["name"] for r in rooted] == ["alpine"]


def test_tags_and_manifests(town: Town) -> None:
    path = "repositories/acme/app"
    (tag,) = town.api("rita", "GET", f"{path}/tags")["tags"]
    assert (tag["name"], tag["inRegistry"], tag["hashMismatch"]) == ("v1", True, False)
    (manifest,) = town.api("rita", "GET", f"{path}/manifests")["manifests"]
    assert (manifest["digest"], manifest["tags"]) == (tag["digest"], ["v1"])
    assert town.api("rita", "GET", f"{path}/tags/v1/trust")["referrers"] == []
    assert town.ask("rita", "DELETE", f"{path}/manifests/v1").status_code == 403
    town.api("will", "DELETE", f"{path}/manifests/v1", status=204)
    assert town.ask("rita", "GET", f"{path}/tags/v1/trust").status_code == 404
    town.api("will", "DELETE", f"{path}/manifests/{tag['digest']}", status=204)
    assert town.api("rita", "GET", f"{path}/manifests")["manifests"] == []


def test_shared_repositories(town: Town) -> None:
    shared = town.api("rita", "GET", "accounts/rita/sharedRepositories")["repositories"]
    assert [r["name"] for r in shared] == ["app"]
    assert town.ask("nora", "GET", "accounts/rita/sharedRepositories").status_code == 403


@pytest.mark.parametrize("path", ["index/search", "index/autocomplete"])
def test_search(town: Town, path: str) -> None:
    found = town.api("rita", "GET", f"{path}?query=a&includeAccounts=false")
    assert [r["name"] for r in found["repositoryResults"]] == ["app", "open"]
    assert found["accountResults"] == []
    people = town.api("rita", "GET", f"{path}?query=RIT")["accountResults"]
    assert [account["name"] for account in people] == ["rita"]
    anonymous = town.api("", "GET", f"{path}?query=a")
    assert [r["name"] for r in anonymous["repositoryResults"]] == ["open"]
    assert anonymous["accountResults"] == []


def test_a_readme(town: Town) -> None:
    text = "# Title\n<script>alert(1)</script> ünïcode"
    town.api("ada", "PATCH", "repositories/acme/app", {"longDescription": text})
    assert town.api("rita", "GET", "repositories/acme/app")["longDescription"] == text
    assert town.api("rita", "GET", "repositories")["repositories"][0]["longDescription"] == ""
    long = {"longDescription": "x" * 65_537}
    assert town.ask("ada", "PATCH", "repositories/acme/app", long).status_code == 400
    assert town.ask("will", "PATCH", "repositories/acme/app", {}).status_code == 403


def test_a_readme_is_rendered_when_it_is_saved(town: Town) -> None:
    town.api("ada", "PATCH", "repositories/acme/app", {"longDescription": "*hello*"})
    found = town.api("rita", "GET", "repositories/acme/app?rendered=true")
    assert found["longDescriptionHtml"] == "<p><em>hello</em></p>\n"
    assert town.api("rita", "GET", "repositories/acme/app")["longDescriptionHtml"] == ""
    new = {"name": "fresh", "longDescription": "![" * 32_000}
    town.api("owen", "POST", "repositories/acme", new, 201)
    found = town.api("owen", "GET", "repositories/acme/fresh?rendered=true")
    assert found["longDescription"]
    assert not found["longDescriptionHtml"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"unknown": 1}', b'{"name": 1}', b'{"name": "x", "type": "god"}']
)
def test_a_body_that_is_none(town: Town, body: bytes) -> None:
    headers = {**basic("admin"), "content-type": "application/json"}
    answer = town.client.post("/api/v0/accounts", headers=headers, content=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"]


def test_what_is_not_there(town: Town) -> None:
    assert town.ask("admin", "GET", "nothing").status_code == 404
    answer = town.ask("admin", "DELETE", "accounts")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    assert town.ask("", "GET", "accounts").status_code == 401
    assert "www-authenticate" in town.ask("", "GET", "accounts").headers


def test_the_files_of_the_page_are_served_here(town: Town) -> None:
    for path in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert town.client.get(f"/api/docs/{path}").status_code == 200
    assert town.client.get("/api/docs/../../../etc/passwd").status_code == 404
    assert town.client.get("/api/docs/swagger-ui.js").status_code == 404


# ---- events ----------------------------------------------------------------------------------
def test_what_is_done_is_noted(town: Town) -> None:
    town.api("ada", "PUT", "repositories/acme/app/userAccess/nora", {"accessLevel": "read-only"})
    town.client.get("/v2/acme/secret/manifests/v1", headers=basic("nora"))
    town.client.post("/v2/acme/app/blobs/uploads/", headers=basic("rita"))
    town.ask("rita", "DELETE", "accounts/nora")
    town.client.delete("/v2/acme/app/manifests/v1", headers=basic("will"))
    town.api("admin", "PUT", "admin/settings/access", {"createOnPush": False})
    noted = [
        (e.kind, e.actor, e.subject, e.outcome) for e in town.events.all if e.kind != "sign-in"
    ]
    assert noted[-6:] == [
        ("grant.set", "ada", "acme/app", "ok"),
        ("refusal", "nora", "acme/secret", "refused"),
        ("refusal", "rita", "acme/app", "refused"),
        ("refusal", "rita", "/accounts/nora", "refused"),
        ("delete", "will", "acme/app", "ok"),
        ("settings", "admin", "access", "ok"),
    ]
    pushed = town.events.of("push")[0]
    assert (pushed.actor, pushed.subject) == ("owen", "acme/app")
    assert pushed.detail["reference"] == "v1"
    assert all(e.remote == "127.0.0.1" for e in town.events.all)


def test_events_are_paged_and_filtered(
    town: Town, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("events") / "audit"
    writer = EventWriter(folder, 1 << 20)
    for event in town.events.all:
        writer.add(event)
    writer.close()
    monkeypatch.setattr(town.identity.reader, "_directory", folder)
    first = town.api("admin", "GET", "admin/events?limit=3&actor=owen")
    assert len(first["events"]) == 3
    more = town.api("admin", "GET", f"admin/events?start={first['nextPageStart']}&limit=1000")
    assert len(more["events"]) > 3
    pushes = town.api("admin", "GET", "admin/events?kind=push&subject=acme/")["events"]
    assert [event["subject"] for event in pushes] == ["acme/open", "acme/secret", "acme/app"]
    assert town.api("admin", "GET", "admin/events?since=2099-01-01T00:00:00Z")["events"] == []
    for wrong in ("since=yesterday", "start=x", "limit=0"):
        assert town.ask("admin", "GET", f"admin/events?{wrong}").status_code == 400
    assert town.ask("owen", "GET", "admin/events").status_code == 403
    # The permission comes first, so the refusal is an event.
    assert town.ask("owen", "GET", "admin/events?since=never").status_code == 403
    assert (
        town.ask("rita", "PATCH", "accounts/acme/teams/owners", {"name": "A b"}).status_code == 403
    )


def test_events_of_a_repository_are_filtered_as_all_are(
    town: Town, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.ask("rita", "DELETE", "repositories/acme/app")
    folder = tmp_path_factory.mktemp("events") / "audit"
    writer = EventWriter(folder, 1 << 20)
    for number, event in enumerate(town.events.all):
        writer.add(msgspec.structs.replace(event, time=1000.0 + number))
    writer.close()
    monkeypatch.setattr(town.identity.reader, "_directory", folder)

    def of_app(who: str, query: str) -> list[dict[str, object]]:
        answer = town.api(who, "GET", f"repositories/acme/app/events?{query}")
        return list(answer["events"])

    every = of_app("ada", "")
    assert len(every) > 2
    assert [event["kind"] for event in of_app("ada", "kind=refusal")] == ["refusal"]
    newest = str(every[0]["time"])
    assert of_app("ada", f"since={newest}") == every[:1]
    assert of_app("ada", f"until={newest}") == every[1:]
    assert of_app("ada", "since=2099-01-01T00:00:00Z") == []
    assert {event["kind"] for event in of_app("ada", "text=reference")} == {"push"}
    # Only administrators see addresses and can search for them.
    assert {event["remote"] for event in every} == {""}
    assert of_app("ada", "text=127.0.0.1") == []
    assert len(of_app("admin", "text=127.0.0.1")) == len(every)
    assert len(of_app("admin", "remote=127.0.0.1")) == len(every)
    assert of_app("admin", "remote=10.0.0.1") == []
    assert town.ask("ada", "GET", "repositories/acme/app/events?remote=x").status_code == 403


def test_a_refusal_is_about_the_repository(town: Town) -> None:
    for path in ("repositories/acme/app", "repositories/acme/app/readme"):
        town.ask("rita", "DELETE" if path.endswith("app") else "PUT", path, {"text": "x"})
    refused = town.events.of("refusal")
    assert {event.subject for event in refused} == {"acme/app"}
    assert refused[0].detail["path"] == "/repositories/acme/app"
    assert refused[0].detail["method"] == "DELETE"


def test_a_change_of_settings_is_told_with_what_was(town: Town) -> None:
    town.api("admin", "PUT", "admin/settings/access", {"createOnPush": False})
    town.api("admin", "PUT", "admin/settings/access", {"createOnPush": True})
    ldap = {
        "serverUrls": ["ldaps://ldap.example"],
        "userSets": [{"baseDn": "dc=example"}],
        "searchDn": "cn=search",
        "searchPassword": "the secret",
    }
    town.api("admin", "PUT", "admin/settings/ldap", ldap)
    town.api("admin", "PUT", "admin/settings/ldap", {**ldap, "searchPassword": "another secret"})
    first, second, made, changed = [event.detail for event in town.events.of("settings")]
    assert first == {"createOnPush": "yes → no"}
    assert second == {"createOnPush": "no → yes"}
    assert made["serverUrls.1"] == " → ldaps://ldap.example"
    assert changed == {"searchPassword": "(hidden) → (hidden)"}
    assert "secret" not in str([made, changed])
