"""Audit events of refusals, and of operations without another trace. The role walk has the rest."""

from __future__ import annotations

from tests.api.managed.town import PASSWORD, Town, basic, session_cookie
from tests.console.browser import Browser
from tests.walks import directory


def _refusals(town: Town) -> list[tuple[str, str]]:
    return [(one.actor, one.subject) for one in town.events.of("refusal")]


def _sign_in(town: Town) -> dict[str, str]:
    form = {"username": "rita", "password": PASSWORD}
    answer = town.client.post("/api/v0/sessions", json=form)
    return {"cookie": session_cookie(answer).partition(";")[0]}


def test_forged_requests_leave_events(town: Town) -> None:
    headers = _sign_in(town)
    town.client.forget_cookies()
    url, body = "/api/v0/accounts/rita/tokens", {"name": "x"}
    evil = {"origin": "https://evil.example"}
    assert town.client.post(url, json=body, headers=headers).status_code == 403
    assert town.client.post(url, json=body, headers={**headers, **evil}).status_code == 403
    form = {"username": "rita", "password": PASSWORD}
    assert town.client.post("/api/v0/sessions", json=form, headers=evil).status_code == 403
    app = "/api/v0/repositories/acme/app"
    assert town.client.request("DELETE", app, headers=headers).status_code == 403
    assert _refusals(town) == [
        ("rita", "/accounts/rita/tokens"),
        ("rita", "/accounts/rita/tokens"),
        ("anonymous", "/sessions"),
        ("rita", "acme/app"),
    ]


def test_forged_forms_of_the_console_leave_events(town: Town) -> None:
    owen = Browser(town, "owen")
    assert owen.post("/do/create_repository", {"csrf": ["x"]}).status_code == 403
    assert _refusals(town) == [("owen", "/do/create_repository")]


def test_pages_that_are_refused_leave_events(town: Town) -> None:
    will = Browser(town, "will")
    assert will.get("/repositories/acme/app/-/settings").status_code == 403
    assert ("will", "acme/app") in _refusals(town)


def test_a_hidden_repository_leaves_an_event_and_a_missing_one_of_an_administrator_none(
    town: Town,
) -> None:
    for user, name in (("nora", "acme/app"), ("nora", "acme/not-there"), ("admin", "acme/no")):
        town.api(user, "GET", f"repositories/{name}", status=404)
    assert _refusals(town) == [("nora", "acme/app"), ("nora", "acme/not-there")]


def test_tries_of_ldap_sign_ins_leave_events(town: Town) -> None:
    with directory.running() as url:
        ldap = {"serverUrls": [url], "userSets": [{"baseDn": "dc=example"}], "timeoutSeconds": 2}
        guess = {"username": "vic", "password": "guess"}
        town.api("admin", "POST", "admin/settings/ldap/test", {**ldap, **guess})
        town.api("admin", "PUT", "admin/settings/ldap", ldap)
        town.api("admin", "POST", "admin/ldap/tryLogin", guess)
    tried = town.events.of("ldap.try")
    assert [(one.actor, one.subject, one.detail["right"]) for one in tried] == [
        ("admin", "vic", False),
        ("admin", "vic", False),
    ]
    assert "guess" not in str([one.detail for one in tried])


def test_changes_of_administrators_are_told_from_those_of_users(town: Town) -> None:
    """Only events of administrators go to the share of the log that users cannot fill."""
    town.client.post("/api/v0/accounts/rita/tokens", json={"name": "a"}, headers=basic("rita"))
    town.client.post("/api/v0/accounts/rita/tokens", json={"name": "b"}, headers=basic("admin"))
    town.api("admin", "PATCH", "accounts/admin", {"isAdmin": False}, 409)
    town.api("admin", "PATCH", "accounts/rita", {"isAdmin": True})
    town.api("rita", "PATCH", "accounts/rita", {"isAdmin": False})
    kinds = {"token.create", "account.update"}
    made = [(e.kind, e.actor) for e in town.events.by_admin if e.kind in kinds]
    assert made == [
        ("token.create", "admin"),
        ("account.update", "admin"),
        ("account.update", "rita"),
    ]
