"""Refused pushes: the answer names the missing account, and where the caller may push instead."""

from __future__ import annotations

import pytest

from tests.api.managed.town import Town, basic

BOTH = pytest.mark.parametrize("how", ["password", "token"])


def begin(
    town: Town, who: str, name: str, how: str = "password", secret: str = ""
) -> tuple[int, str]:
    """Begin an upload; returns the status and the message."""
    headers = basic(who, secret) if secret else basic(who)
    if how == "token":
        given = {"password": secret} if secret else {}
        token = town.token(who, f"repository:{name}:pull,push", **given)
        headers = {"authorization": f"Bearer {token}"}
    answer = town.client.post(f"/v2/{name}/blobs/uploads/", headers=headers)
    message = "" if answer.is_success else answer.json()["errors"][0]["message"]
    return answer.status_code, message


@BOTH
def test_a_mistyped_namespace_is_refused_to_administrators(town: Town, how: str) -> None:
    for name in ("acne/app", "acne/deep/app"):
        status, message = begin(town, "admin", name, how)
        assert status == 403, name
        assert "no account acne" in message
        assert "you may push to all namespaces of accounts" in message
    digest = town.push("acme/open", b"mounted")
    headers = basic("admin")
    for url in (
        f"/v2/acne/app/blobs/uploads/?mount={digest}&from=acme/open",
        f"/v2/acne/app/blobs/uploads/?mount={digest}",
    ):
        assert town.client.post(url, headers=headers).status_code == 403
    assert town.client.get("/v2/_catalog", headers=headers).json()["repositories"] == [
        "acme/app",
        "acme/open",
        "acme/secret",
    ]
    assert begin(town, "admin", "acme/new", how)[0] == 202


@BOTH
def test_what_is_made_explicitly_takes_pushes_and_so_does_its_namespace(
    town: Town, how: str
) -> None:
    town.api("nora", "POST", "repositories/tools", {"name": "lint"}, 404)
    town.api("admin", "POST", "repositories/tools", {"name": "lint"}, 201)
    for name, status in {"tools/lint": 202, "tools/other": 202, "tool/lint": 403}.items():
        assert begin(town, "admin", name, how)[0] == status, name
    assert begin(town, "admin", "alone", how)[0] == 202, "a name of one part has no namespace"
    listed = town.api("admin", "GET", "repositories/tools")["repositories"]
    assert [one["name"] for one in listed] == ["lint"]


@BOTH
def test_a_refused_push_says_where_the_caller_may_push(town: Town, how: str) -> None:
    for who, names, status, hint in (
        ("nora", ["acme/app", "acme/none", "none/app"], 404, "nora/*"),
        ("rita", ["acme/app", "acme/open"], 403, "rita/*"),
        ("will", ["acme/secret", "acme/none"], 404, "will/*, acme/app"),
        ("owen", ["nora/app"], 404, "acme/*, owen/*"),
    ):
        for name in names:
            found, message = begin(town, who, name, how)
            assert found == status, (who, name)
            assert message.endswith(f"; you may push to {hint}"), (who, name)
    assert "push to" not in begin(town, "", "acme/app", how)[1]


def test_grants_on_a_namespace_are_told_as_they_are(town: Town) -> None:
    place = "repositoryNamespaces/acme/teamAccess"
    for level, hint in {"read-write": "acme/* (what exists there)", "admin": "acme/*"}.items():
        town.api("owen", "PUT", f"{place}/readers", {"accessLevel": level})
        assert begin(town, "rita", "nora/x")[1].endswith(f"you may push to rita/*, {hint}")
    town.api("owen", "PUT", f"{place}/readers", {"accessLevel": "read-only"})
    assert begin(town, "rita", "nora/x")[1].endswith("you may push to rita/*")


@BOTH
def test_tokens_and_robots_are_told_what_their_scopes_leave(town: Town, how: str) -> None:
    scopes = [
        {"repository": "acme/*", "actions": ["pull", "push"]},
        {"repository": "nora/*", "actions": ["push"]},
        {"repository": "will", "actions": ["push"]},
        {"repository": "*", "actions": ["pull"]},
    ]
    body = {"name": "ci", "scopes": scopes}
    token = town.api("will", "POST", "accounts/will/tokens", body, 201)["token"]
    status, message = begin(town, "will", "will/x", how, token)
    assert (status, message.partition("; ")[2]) == (403, "you may push to will, acme/app")
    robot = {"name": "ci", "scopes": [{"repository": "acme/a/*", "actions": ["push"]}]}
    secret = town.api("owen", "POST", "accounts/acme/robots", robot, 201)["token"]
    assert begin(town, "acme+ci", "acme/b", how, secret)[1].endswith("you may push to acme/a/*")
    reader = {"name": "r", "scopes": [{"repository": "acme/*", "actions": ["pull"]}]}
    secret = town.api("admin", "POST", "accounts/admin/tokens", reader, 201)["token"]
    status, message = begin(town, "admin", "acme/app", how, secret)
    assert (status, message.partition("; ")[2]) == (403, "you may push to no repository")


def test_a_long_list_is_cut_and_says_so(town: Town) -> None:
    for number in range(12):
        town.api("owen", "POST", "repositories/acme", {"name": f"r{number:02}"}, 201)
        path = f"repositories/acme/r{number:02}/userAccess/nora"
        town.api("owen", "PUT", path, {"accessLevel": "read-write"})
    message = begin(town, "nora", "acme/secret")[1]
    listed = ", ".join(["nora/*", *(f"acme/r{number:02}" for number in range(7))])
    assert message.endswith(f"you may push to {listed}, and 5 more")
    town.api("admin", "PUT", "admin/settings/access", {"createOnPush": False})
    status, message = begin(town, "nora", "nora/none")
    assert (status, "make it before you push; you may push to nora/*" in message) == (403, True)


def test_others_do_not_read_it_in_the_events_of_the_repository(town: Town) -> None:
    """Those users administer the target, and may not know of the caller's other repositories."""
    town.api("nora", "POST", "repositories/nora", {"name": "quiet"}, 201)
    grant = {"accessLevel": "read-write"}
    town.api("nora", "PUT", "repositories/nora/quiet/userAccess/rita", grant)
    for name in ("acme/app", "acme/secret"):
        assert "nora/quiet" in begin(town, "rita", name)[1]
    digest = "sha256:" + "0" * 64
    url = f"repositories/acme/app/manifests/{digest}/restore"
    assert "nora/quiet" in str(town.api("rita", "POST", url, status=403))
    told = [one.detail["reason"] for one in town.events.of("refusal")]
    assert len(told) == 3
    assert not any("may push to" in str(reason) for reason in told), told
    assert all("may not" in str(reason) for reason in told), told
