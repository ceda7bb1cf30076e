"""The directory and issuers on the page of settings, and labels of fields in reviews."""

from __future__ import annotations

import html
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from dtrfast.config import NAMES, Config, Setting
from dtrfast.console import formatting, labels
from dtrfast.identity import accounts, differences
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.ldap.settings import LdapSettings
from dtrfast.identity.names import AccountName
from dtrfast.identity.settings import AccessSettings, OidcSettings
from dtrfast.identity.synchronization import SyncProblem, SyncReport, remember
from dtrfast.registry.policies import StorageSettings
from dtrfast.registry.writing import Author
from tests.api.managed.town import Town
from tests.console.browser import Browser, Form, forms_of

# No server listens there.
NOWHERE = "ldap://127.0.0.1:1"


def _form(browser: Browser, operation: str) -> Form:
    page = browser.get("/settings/auth").text
    return next(form for form in forms_of(page) if form.operation == operation)


def _filled(form: Form, **fields: str) -> dict[str, list[str]]:
    given = {"body.serverUrls.0": NOWHERE, "body.userSets.0.baseDn": "dc=example", **fields}
    return {**form.fields, "review": [""], **{name: [value] for name, value in given.items()}}


def test_a_form_that_was_filled_in_becomes_the_settings(town: Town) -> None:
    admin = Browser(town, "admin")
    form = _form(admin, "put_ldap_settings")
    assert form.fields["body.userSets.1.baseDn"] == [""]
    fields = _filled(form)
    assert admin.act("put_ldap_settings", fields).status_code == 303
    saved = town.api("admin", "GET", "admin/settings/ldap")
    assert [one["baseDn"] for one in saved["userSets"]] == ["dc=example"]
    assert saved["adminGroup"] is None


def test_there_is_room_for_one_more_part_of_the_directory(town: Town) -> None:
    admin = Browser(town, "admin")
    admin.act("put_ldap_settings", _filled(_form(admin, "put_ldap_settings")))
    form = _form(admin, "put_ldap_settings")
    more = {"body.userSets.1.baseDn": "ou=more,dc=example"}
    fields = {**form.fields, "review": [""], **{name: [value] for name, value in more.items()}}
    assert admin.act("put_ldap_settings", fields).status_code == 303
    form = _form(admin, "put_ldap_settings")
    assert form.fields["body.userSets.2.baseDn"] == [""]
    fields = {**form.fields, "review": [""], "body.userSets.1.baseDn": [""]}
    assert admin.act("put_ldap_settings", fields).status_code == 303
    assert len(town.api("admin", "GET", "admin/settings/ldap")["userSets"]) == 1


def test_an_issuer_goes_with_its_name(town: Town) -> None:
    issuer = {"name": "gitlab", "url": "https://gitlab.example", "audience": "registry"}
    town.api("admin", "PUT", "admin/settings/oidc", {"issuers": [issuer]})
    admin = Browser(town, "admin")
    form = _form(admin, "put_oidc_settings")
    fields = {**form.fields, "review": [""], "body.issuers.0.name": [""]}
    assert admin.act("put_oidc_settings", fields).status_code == 303
    assert town.api("admin", "GET", "admin/settings/oidc")["issuers"] == []


def test_settings_are_tried_before_they_are_saved(town: Town) -> None:
    admin = Browser(town, "admin")
    tried = {
        "only.try_ldap_settings.username": "nora",
        "only.try_ldap_settings.password": "the secret",
    }
    fields = _filled(_form(admin, "put_ldap_settings"), **tried)
    # An earlier review does not turn a test of the settings into a review.
    answer = admin.act("try_ldap_settings", {**fields, "reviewed": ["0" * 32]})
    assert answer.status_code == 200
    assert html.unescape(answer.text).count("does not answer") == 2
    assert "the secret" not in answer.text
    assert town.ask("admin", "GET", "admin/settings/ldap").status_code == 404
    assert [event.actor for event in town.events.of("ldap.test")] == ["admin"]
    wrong = admin.act("try_ldap_settings", {**fields, "body.serverUrls.0": ["http://x"]})
    assert wrong.status_code == 400
    for who in ("owen", "nora"):
        assert Browser(town, who).act("try_ldap_settings", fields).status_code == 403


def test_accounts_remain_when_the_directory_goes(town: Town) -> None:
    new = NewAccount(AccountName("dirk"), directory_id="uuid-1")
    town.engine.write(lambda t: accounts.create(t, Author("system", town.clock()), new))
    admin = Browser(town, "admin")
    admin.act("put_ldap_settings", _filled(_form(admin, "put_ldap_settings")))
    asked = admin.act("delete_ldap_settings", {})
    assert "no longer sign in" in asked.text
    admin.act("delete_ldap_settings", {"confirmed": ["1"]})
    page = " ".join(admin.get("/settings/auth").text.split())
    assert '<a href="/users?source=ldap">1 account</a> from the directory.' in page


def test_a_team_of_the_directory_says_when_it_is_looked_at(town: Town) -> None:
    admin = Browser(town, "admin")
    admin.act("put_ldap_settings", _filled(_form(admin, "put_ldap_settings")))
    body = {"name": "devs", "type": "ldap", "ldapDN": "cn=devs,dc=example"}
    town.api("owen", "POST", "accounts/acme/teams", body, 201)
    page = admin.get("/organizations/acme/teams/devs").text
    assert "Not synchronized yet." in page
    sync = next(form for form in forms_of(page) if form.operation == "sync_ldap")
    assert sync.fields["next"] == ["/organizations/acme/teams/devs"]
    owner = Browser(town, "owen").get("/organizations/acme/teams/devs").text
    assert "sync_ldap" not in owner
    assert "cn=devs,dc=example" in owner


def test_what_is_missing_in_the_directory_is_shown(town: Town) -> None:
    """A missing group is shown on the pages of settings and of its team, and as an open problem."""
    admin = Browser(town, "admin")
    admin.act("put_ldap_settings", _filled(_form(admin, "put_ldap_settings")))
    body = {"name": "devs", "type": "ldap", "ldapDN": "cn=devs,dc=example"}
    town.api("owen", "POST", "accounts/acme/teams", body, 201)
    problem = SyncProblem("team acme/devs", "cn=devs,dc=example", "it is not there")
    remember(town.engine, SyncReport(town.clock(), 0.0, False, 3, [], problems=[problem]))
    settings = " ".join(admin.get("/settings/auth").text.split())
    assert "team acme/devs: <code>cn=devs,dc=example</code>: it is not there" in settings
    assert "The team stays as it is: it is not there." in (
        Browser(town, "admin").get("/organizations/acme/teams/devs").text
    )
    assert "LDAP: team acme/devs: cn=devs,dc=example: it is not there" in (
        html.unescape(admin.get("/dashboard").text)
    )
    assert "body.allowRemovals" in _form(admin, "sync_ldap").fields


# ---- labels ------------------------------------------------------------------------------------
def _fields_of(kind: Any, prefix: str = "") -> list[str]:
    """Return the fields of a document and of its parts, by their names with dots."""
    found: list[str] = []
    hints = get_type_hints(kind, include_extras=False)
    for field in msgspec.structs.fields(kind):
        name = f"{prefix}{field.encode_name}"
        found.append(name)
        for inner in (hints[field.name], *get_args(hints[field.name])):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                found += _fields_of(inner, f"{name}.")
    return found


@pytest.mark.parametrize("kind", [AccessSettings, OidcSettings, LdapSettings, StorageSettings])
def test_every_field_of_the_settings_has_a_label(kind: type) -> None:
    assert set(_fields_of(kind)) <= set(labels.FIELDS)


def test_differences_say_what_forms_say() -> None:
    before = {"userSets": [{"filter": "(a=b)"}], "reserveBytes": 0, "trashDays": 14.0}
    after = {"userSets": [{"filter": "(c=d)"}], "reserveBytes": 1 << 30, "trashDays": 0.5}
    found = {
        labels.of_field(one.field): (one.before, one.after)
        for one in differences.compare(before, after)
    }
    assert found == {
        "Users 1: Filter": ("(a=b)", "(c=d)"),
        "Refuse pushes below this much free space": ("0", "1073741824"),
        "Keep deleted items for (days)": ("14", "0.5"),
    }
    assert labels.of_field("serverUrls.2") == "Server 2"


def test_every_setting_of_the_server_is_in_a_group() -> None:
    groups = labels.of_settings(Config().settings())
    assert "Other" not in dict(groups)
    assert sorted(row.name for _, rows in groups for row in rows) == sorted(NAMES)
    shown = {row.name: row.value for _, rows in groups for row in rows}
    assert shown["server.workers"] == "one for each core"
    assert shown["server.external_url"] == "not set"
    assert shown["auth.token_seconds"] == "15 minutes"
    assert shown["log.audit_size_max"] == "256 MiB"
    assert shown["server.lanes"] == "on"
    assert shown["registry.page_size_max"] == "1\u202f000"
    unknown = labels.of_settings([*Config().settings(), Setting("new.thing", 1, "default")])
    assert unknown[-1][0] == "Other"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.5, "0.5 seconds"), (1, "1 second"), (900, "15 minutes"), (5400, "1.5 hours")],
)
def test_lengths_of_time_have_the_greatest_unit(seconds: float, shown: str) -> None:
    assert formatting.length(seconds) == shown
