"""Confirmations and reviews before operations, and sentences after them."""

from __future__ import annotations

import html
import re

import pytest

from tests.api.managed.town import Town
from tests.console.browser import Browser, forms_of


def _prepare(town: Town) -> None:
    town.api("will", "POST", "accounts/will/tokens", {"name": "laptop"}, 201)
    scopes = [{"repository": "acme/*", "actions": ["pull"]}]
    town.api("owen", "POST", "accounts/acme/robots", {"name": "ci", "scopes": scopes}, 201)


@pytest.mark.parametrize(
    ("operation", "fields", "path"),
    [
        ("delete_account", {"path.name": "nora"}, "accounts/nora"),
        (
            "delete_team",
            {"path.name": "acme", "path.team": "readers"},
            "accounts/acme/teams/readers",
        ),
        (
            "delete_member",
            {"path.name": "acme", "path.member": "rita"},
            "accounts/acme/members/rita",
        ),
        ("delete_token", {"path.name": "will", "path.token": "laptop"}, "accounts/will/tokens"),
        ("delete_robot", {"path.name": "acme", "path.robot": "ci"}, "accounts/acme/robots"),
        ("deactivate", {"path.name": "nora"}, "accounts/nora"),
        ("update_account", {"path.name": "nora", "body.isAdmin": "true"}, "accounts/nora"),
    ],
)
def test_what_is_final_is_asked_first(
    town: Town, operation: str, fields: dict[str, str], path: str
) -> None:
    _prepare(town)
    admin = Browser(town, "admin")
    before = town.api("admin", "GET", path)
    asked = admin.act(operation, {name: [value] for name, value in fields.items()})
    assert asked.status_code == 200
    assert town.api("admin", "GET", path) == before
    (form,) = [f for f in forms_of(asked.text) if f.operation == operation]
    assert "Are you sure" in asked.text
    again = {name: [value] for name, value in fields.items()}
    assert set(form.fields) >= set(again)
    assert admin.act(operation, {**again, "confirmed": ["1"]}).status_code == 303
    assert town.api("admin", "GET", path, status=None) != before


@pytest.mark.parametrize(
    ("path", "operation", "name"),
    [
        ("/users/will/tokens", "delete_token", "laptop"),
        ("/organizations/acme/robots", "delete_robot", "ci"),
    ],
)
def test_a_token_is_asked_for_by_its_name(town: Town, path: str, operation: str, name: str) -> None:
    _prepare(town)
    admin = Browser(town, "admin")
    form = next(f for f in forms_of(admin.get(path).text) if f.operation == operation)
    assert f"Revoke {name}</button>" in admin.act(operation, form.fields).text


def test_emptying_the_trash_says_what_it_frees(town: Town) -> None:
    town.api("owen", "DELETE", "repositories/acme/secret", status=204)
    asked = Browser(town, "admin").act("run_job", {"path.job": ["empty-trash"]})
    assert "permanently deletes 1 item and frees" in asked.text
    assert re.search(r"frees \d+ B", asked.text)
    assert not any(job["isWaiting"] for job in town.api("admin", "GET", "admin/jobs")["jobs"])


def test_what_was_looked_at_is_what_is_done(town: Town) -> None:
    admin = Browser(town, "admin")
    fields = {"body.trashDays": ["30"], "body.untaggedDays": ["0"]}
    shown = admin.act("put_storage_settings", {**fields, "review": ["1"]})
    reviewed = re.search(r'name="reviewed" value="([0-9a-f]+)"', shown.text)
    assert reviewed is not None
    edited = {**fields, "body.trashDays": ["31"], "reviewed": [reviewed[1]]}
    again = admin.act("put_storage_settings", edited)
    assert "The form or the settings changed since your review" in again.text
    assert town.api("admin", "GET", "admin/settings/storage")["trashDays"] == 14
    kept = {**fields, "reviewed": [reviewed[1]]}
    assert admin.act("put_storage_settings", kept).status_code == 303
    assert town.api("admin", "GET", "admin/settings/storage")["trashDays"] == 30


def test_a_change_of_a_repository_can_be_reviewed(town: Town) -> None:
    """The operation that reads it has a query, which a review leaves empty."""
    form = {
        "path.namespace": ["acme"],
        "path.repository": ["app"],
        "body.shortDescription": ["new"],
        "review": ["1"],
    }
    shown = Browser(town, "owen").act("update_repository", form)
    assert (shown.status_code, "new" in shown.text) == (200, True)


def test_a_change_of_another_user_meanwhile_is_shown(town: Town) -> None:
    admin = Browser(town, "admin")
    fields = {"body.trashDays": ["30"]}
    shown = admin.act("put_storage_settings", {**fields, "review": ["1"]})
    reviewed = re.search(r'name="reviewed" value="([0-9a-f]+)"', shown.text)
    assert reviewed is not None
    town.api("admin", "PUT", "admin/settings/storage", {"untaggedDays": 5})
    again = admin.act("put_storage_settings", {**fields, "reviewed": [reviewed[1]]})
    assert "untagged" in again.text
    assert town.api("admin", "GET", "admin/settings/storage")["untaggedDays"] == 5


@pytest.mark.parametrize(
    ("operation", "fields", "message"),
    [
        ("put_ldap_settings", {"body.serverUrls.0": "http://ldap"}, "is not ldap://HOST"),
        ("put_ldap_settings", {"body.userSets.0.filter": "(uid"}, "is not a search filter"),
        ("put_ldap_settings", {"body.userSets.0.baseDn": "people"}, "distinguished name"),
        ("put_ldap_settings", {"body.searchPassword": "(hidden)"}, "none is stored: enter it"),
        ("put_oidc_settings", {"body.issuers.0.url": "gitlab"}, "is not an https:// address"),
        ("put_oidc_settings", {"body.issuers.0.audience": ""}, "audience"),
    ],
)
def test_what_would_be_refused_is_refused_before_it_is_shown(
    town: Town, operation: str, fields: dict[str, str], message: str
) -> None:
    ldap = {
        "body.serverUrls.0": "ldaps://ldap.example",
        "body.searchDn": "cn=search",
        "body.searchPassword": "secret",
        "body.userSets.0.baseDn": "dc=example",
        "body.userSets.0.filter": "(uid=*)",
    }
    oidc = {
        "body.issuers.0.name": "gitlab",
        "body.issuers.0.url": "https://gitlab.example",
        "body.issuers.0.audience": "registry",
    }
    right = ldap if operation == "put_ldap_settings" else oidc
    admin = Browser(town, "admin")
    form = {name: [value] for name, value in {**right, "review": "1"}.items()}
    assert admin.act(operation, form).status_code == 200
    wrong = admin.act(operation, {**form, **{name: [value] for name, value in fields.items()}})
    assert wrong.status_code == 400
    assert message.lower() in html.unescape(wrong.text).lower()


def test_after_settings_were_applied_the_page_is_another(town: Town) -> None:
    """A redirect to another place of the current page would load nothing."""
    admin = Browser(town, "admin")
    for form in forms_of(admin.get("/settings/auth").text):
        if form.action.startswith("/do/"):
            assert "#" not in form.fields["next"][0]
    fields = {"body.trashDays": ["30"], "next": ["/settings/storage#trash"]}
    done = admin.act("put_storage_settings", fields, **{"hx-request": "true"})
    assert done.headers["hx-redirect"] == "/settings/storage"


@pytest.mark.parametrize(
    ("operation", "fields", "sentence"),
    [
        (
            "grant_user_access",
            {"path.namespace": "acme", "path.repository": "app", "path.grantee": "nora"},
            "nora now has read-only access to acme/app.",
        ),
        (
            "add_team_member",
            {"path.name": "acme", "path.team": "readers", "path.member": "nora"},
            "Added nora to the team readers.",
        ),
        ("create_account", {"body.name": "grace"}, "Created grace."),
        (
            "update_account",
            {"path.name": "nora", "body.isAdmin": "true", "confirmed": "1"},
            "nora is now a system administrator.",
        ),
        (
            "create_repository",
            {"path.namespace": "acme", "body.name": "web/app"},
            "Created acme/web/app.",
        ),
    ],
)
def test_what_was_done_is_told_with_names(
    town: Town, operation: str, fields: dict[str, str], sentence: str
) -> None:
    admin = Browser(town, "admin")
    if operation == "grant_user_access":
        fields = {**fields, "body.accessLevel": "read-only"}
    done = admin.act(operation, {name: [value] for name, value in fields.items()})
    told = done.headers["set-cookie"].partition(";")[0]
    assert sentence in admin.get("/repositories", cookie=told).text
