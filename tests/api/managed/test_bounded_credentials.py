"""Credentials for repositories only: robots, jobs, tokens with scopes, and access tokens."""

from __future__ import annotations

import json

import msgspec
import pytest

from dtrfast.identity import accounts, records, tokens
from dtrfast.identity.records import Bound
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import TOKENS
from tests.api.managed.town import PASSWORD, Town, basic, granted

ALL = [{"repository": "acme/*", "actions": ["*"]}]
APP = "/api/v0/repositories/acme/app"
OPEN = "/api/v0/repositories/acme/open"


def make(town: Town, who: str, path: str, scopes: object = ALL, name: str = "ci") -> str:
    body = {"name": name, "scopes": scopes}
    return str(town.api(who, "POST", f"accounts/{path}", body, 201)["token"])


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def everyone_bounded(town: Town) -> dict[str, dict[str, str]]:
    """Return headers for a credential of each kind, each of which covers all of acme/app."""
    robot = make(town, "owen", "acme/robots")
    return {
        "robot": basic("acme+ci", robot),
        "access token of the robot": bearer(
            town.token("acme+ci", "repository:acme/app:*", password=robot)
        ),
        "personal token": basic("owen", make(town, "owen", "owen/tokens")),
        "personal token as bearer": bearer(make(town, "admin", "admin/tokens")),
        "access token": bearer(town.token("admin", "repository:acme/app:*")),
        "access token of nothing": bearer(town.token("admin")),
    }


def test_they_manage_nothing(town: Town) -> None:
    for kind, headers in everyone_bounded(town).items():
        for method, url, body in (
            ("PUT", f"{APP}/userAccess/nora", {"accessLevel": "admin"}),
            ("PATCH", APP, {"visibility": "public"}),
            ("PUT", f"{APP}/trusts/back", {"issuer": "ci", "claims": {"sub": "x"}}),
            ("DELETE", f"{APP}/manifests/v1", None),
            ("POST", "/api/v0/repositories/acme", {"name": "made"}),
            ("PUT", "/api/v0/admin/settings/access", {"createOnPush": "not even valid"}),
            ("GET", f"{APP}/userAccess", None),
            ("GET", "/api/v0/accounts/admin", None),
        ):
            options = {} if body is None else {"json": body}
            answer = town.client.request(method, url, headers=headers, **options)
            assert answer.status_code == 403, (kind, method, url)
    assert town.api("owen", "GET", "repositories/acme/app")["visibility"] == "private"
    assert len(town.events.of("refusal")) == 6 * 8


def test_a_star_gives_no_admin_wherever_scopes_are_read(town: Town) -> None:
    uses = ["delete", "pull", "push"]
    scope = "repository:acme/app:*"
    for who, password in {
        "admin": PASSWORD,
        "owen": make(town, "owen", "owen/tokens"),
        "acme+ci": make(town, "owen", "acme/robots"),
    }.items():
        for wanted in (scope, "repository:acme/app:pull,push,delete,admin"):
            found = granted(town.token(who, wanted, password=password))
            assert sorted(found["acme/app"]) == uses, who
    shown = town.api("owen", "GET", "accounts/acme/robots")["credentials"][0]["scopes"]
    assert sorted(shown[0]["actions"]) == uses
    body = {"name": "x", "scopes": [{"repository": "acme/app", "actions": ["pull", "admin"]}]}
    for path in ("owen/tokens", "acme/robots"):
        refused = town.ask("owen", "POST", f"accounts/{path}", body)
        assert (refused.status_code, "without scopes" in refused.text) == (400, True)


def test_scopes_that_were_stored_with_admin_have_lost_it(town: Town) -> None:
    robot = make(town, "owen", "acme/robots")

    def widen(transaction: WriteTransaction) -> None:
        account = accounts.get(transaction, "acme")
        (token,) = tokens.of_account(transaction, account.id, "robot")
        old = msgspec.structs.replace(token, bounds=(Bound("acme/*", 15),))
        transaction.put(TOKENS, old.hash, records.tokens.encode(old))

    town.engine.write(widen)
    headers = basic("acme+ci", robot)
    assert town.client.get(APP, headers=headers).json()["accessLevel"] == "read-write"
    (shown,) = town.api("owen", "GET", "accounts/acme/robots")["credentials"]
    assert "admin" not in shown["scopes"][0]["actions"]


def test_they_find_what_everyone_does_and_no_names_of_accounts(town: Town) -> None:
    everyone = set(_search(town, {}))
    assert everyone == {"acme/open"}
    for kind, headers in everyone_bounded(town).items():
        for path in ("index/search", "index/autocomplete"):
            answer = town.client.get(f"/api/v0/{path}?query=a", headers=headers)
            assert answer.json()["accountResults"] == [], kind
        assert set(_search(town, headers)) >= everyone, kind
        search = town.client.get("/v1/search?q=acme", headers=headers)
        assert {r["name"] for r in search.json()["results"]} >= everyone, kind


def _search(town: Town, headers: dict[str, str]) -> list[str]:
    results = town.client.get("/api/v0/index/search?query=a", headers=headers).json()
    return [f"{one['namespace']}/{one['name']}" for one in results["repositoryResults"]]


def test_an_access_token_lists_what_it_was_asked_for(town: Town) -> None:
    one = bearer(town.token("admin", "repository:acme/app:pull"))
    for path in ("repositories", "repositories/acme"):
        listed = town.client.get(f"/api/v0/{path}", headers=one).json()["repositories"]
        assert [each["name"] for each in listed] == ["app", "open"], path
    every = bearer(town.token("admin", "registry:catalog:*"))
    listed = town.client.get("/api/v0/repositories", headers=every).json()["repositories"]
    assert [each["name"] for each in listed] == ["app", "open", "secret"]


def test_an_administrators_token_with_scopes_measures_as_any_other(town: Town) -> None:
    scopes = [{"repository": "acme/app", "actions": ["pull"]}]
    headers = bearer(make(town, "admin", "admin/tokens", scopes))
    assert town.client.get(f"{APP}/usage", headers=headers).json()["isAtMost"]
    preview = town.client.get(f"{APP}/deletion?references=v1", headers=headers).json()
    assert preview["isAtMost"]
    assert town.client.get(f"{APP}/trash", headers=headers).status_code == 403
    assert not town.api("admin", "GET", "repositories/acme/app/usage")["isAtMost"]


def test_a_token_does_not_tell_what_its_user_may_see_beyond_its_scopes(town: Town) -> None:
    scopes = [{"repository": "rita/*", "actions": ["pull"]}]
    headers = basic("rita", make(town, "rita", "rita/tokens", scopes))
    told = [
        town.client.get(f"/v2/acme/{name}/manifests/v1", headers=headers).text.replace(name, "")
        for name in ("app", "none")
    ]
    assert told[0] == told[1]
    assert "this token may not know" in told[0]


def test_robots_make_repositories_where_their_scopes_say_so(town: Town) -> None:
    scopes = [
        {"repository": "acme/made", "actions": ["push", "pull"]},
        {"repository": "acme/read/*", "actions": ["pull"]},
    ]
    headers = basic("acme+ci", make(town, "owen", "acme/robots", scopes))
    for name, status in {
        "acme/made": 202,
        "acme/other": 404,
        "acme/made/below": 404,
        "acme/read/it": 403,
        "acme": 404,
        "nora/made": 404,
        "made": 404,
    }.items():
        begun = town.client.post(f"/v2/{name}/blobs/uploads/", headers=headers)
        assert begun.status_code == status, name
    digest = town.push("acme/open", b"mounted")
    url = f"/v2/acme/other/blobs/uploads/?mount={digest}&from=acme/open"
    assert town.client.post(url, headers=headers).status_code == 404


# ---- callers without a sign-in ----------------------------------------------------------------
@pytest.mark.parametrize("body", [b"{}", b"no JSON"])
def test_changes_without_a_sign_in_are_refused_before_anything_is_read(
    town: Town, body: bytes
) -> None:
    class Forbidden(Exception):
        pass

    def write(_change: object) -> None:
        raise Forbidden

    town.engine.write = write  # type: ignore[method-assign,assignment]
    for method, path in (
        ("POST", "accounts"),
        ("PATCH", "accounts/rita"),
        ("POST", "accounts/rita/tokens"),
        ("POST", "repositories/acme"),
        ("PUT", "repositories/acme/app/userAccess/nora"),
        ("POST", "repositories/acme/app/tags/v1/restore"),
        ("DELETE", "repositories/acme/open/manifests/v1"),
    ):
        answer = town.client.request(method, f"/api/v0/{path}", content=body)
        assert answer.status_code == 401, path


def test_without_a_sign_in_no_name_of_an_account_is_shown(town: Town) -> None:
    for path in ("tags", "images", "manifests/v1"):
        shown = town.client.get(f"{OPEN}/{path}").text
        assert "owen" not in shown, path
        assert "owen" in town.client.get(f"{OPEN}/{path}", headers=basic("nora")).text, path
    for path in ("trash", "tags/v1/history"):
        assert town.client.get(f"{OPEN}/{path}").status_code == 401, path
        assert town.client.get(f"{OPEN}/{path}", headers=basic("nora")).status_code == 403, path
    lists = [town.client.get(f"/api/v0/repositories/{name}").text for name in ("nora", "no-one")]
    assert lists[0] == lists[1]
    assert json.loads(lists[0])["repositories"] == []
    assert town.ask("nora", "GET", "repositories/no-one").status_code == 404
