"""Edits: values with units, and two users who change the same object."""

from __future__ import annotations

import httpx
import msgspec
import pytest

from dtrfast.console import quantities
from dtrfast.machine import space
from dtrfast.machine.space import DiskSpace
from tests.api.managed.town import Town
from tests.console.browser import Browser, control_in, form_in, text_of, with_areas

SETTINGS = "/repositories/acme/app/-/settings"
STORAGE = "/settings/storage"


# ---- quantities --------------------------------------------------------------------------------
def test_sizes_and_times_have_units() -> None:
    size, rate, time = map(quantities.scale_of, ("reserveBytes", "xBytesPerSecond", "aSeconds"))
    assert size is not None
    assert rate is not None
    assert time is not None
    assert quantities.scale_of("trashDays") is None
    for value, scale, parts in (
        (1 << 30, size, ("1", "GiB")),
        (1536 << 20, size, ("1.5", "GiB")),
        (1_000_000_000, size, ("976562.5", "KiB")),
        (1_000_000_001, size, ("1000000001", "B")),
        (1_181_116_006, size, ("1.1", "GiB")),
        (0, size, ("0", "GiB")),
        (1 << 50, size, ("1024", "TiB")),
        (3600.0, time, ("1", "hours")),
        (5, time, ("5", "seconds")),
        (100, time, ("100", "seconds")),
        (0.5, time, ("0.5", "seconds")),
        (129_600, time, ("1.5", "days")),
    ):
        assert quantities.split(value, scale) == parts, value
        assert float(quantities.join(*parts, scale)) == value
    for text, unit, joined in (
        ("10 gib", "MiB", str(10 << 30)),
        ("10G", "MiB", str(10 << 30)),
        ("2 GB", "MiB", "2000000000"),
        (" .5 ", "KiB", "512"),
        ("1,000", "GiB", "1,000"),
        ("-1", "GiB", "-1"),
        ("many", "GiB", "many"),
        ("1", "parsec", "1"),
        ("9" * 40, "GiB", "9" * 40),
    ):
        assert quantities.join(text, unit, size) == joined, text
    assert quantities.join("90 min", "hours", time) == "5400"
    assert quantities.shown("reserveBytes", "1073741824") == "1 GiB"
    assert quantities.shown("scrubBytesPerSecond", "33554432") == "32 MiB/s"
    assert quantities.shown("syncIntervalSeconds", "3600") == "1 hour"
    assert quantities.shown("trashDays", "14") == "14"


def test_sizes_are_entered_and_reviewed_with_units(town: Town) -> None:
    admin = Browser(town, "admin")
    page = admin.get(STORAGE).text
    reserve = control_in(page, "body.reserveBytes")
    assert 'value="1"' in reserve
    assert '<option value="GiB" selected>' in reserve
    form = form_in(page, "put_storage_settings")
    sent = form.fields | {"body.reserveBytes": ["2"], "unit.body.reserveBytes": ["MiB"]}
    reviewed = admin.act("put_storage_settings", sent)
    assert "Refuse pushes below this much free space 1 GiB 2 MiB" in text_of(reviewed.text)
    applied = admin.act("put_storage_settings", sent | {"review": [""]})
    assert applied.status_code == 303
    assert town.api("admin", "GET", "admin/settings/storage")["reserveBytes"] == 2 << 20


def test_a_capped_value_says_so(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = DiskSpace(total_bytes=100 << 30, used_bytes=0, free_bytes=100 << 30, files_free=None)
    monkeypatch.setattr(space, "measure_or_zero", lambda path: disk)
    admin = Browser(town, "admin")
    assert town.api("admin", "GET", "admin/storage")["reserveBytesMax"] == 5 << 30
    form = form_in(admin.get(STORAGE).text, "put_storage_settings")
    sent = form.fields | {"body.reserveBytes": ["1000"], "unit.body.reserveBytes": ["TiB"]}
    assert "Capped to" in text_of(admin.act("put_storage_settings", sent).text)
    applied = admin.act("put_storage_settings", sent | {"review": [""]})
    cookie = applied.headers["set-cookie"].partition(";")[0]
    page = text_of(admin.get(STORAGE, cookie=cookie).text)
    assert page.count("Capped to 5.0 GiB") == 2, "the result says so, and the form"
    fine = form.fields | {"body.reserveBytes": ["1"], "unit.body.reserveBytes": ["KiB"]}
    assert "Capped" not in admin.act("put_storage_settings", fine).text


# ---- edits of two users ------------------------------------------------------------------------
def test_two_edits_of_a_repository_do_not_undo_each_other(town: Town) -> None:
    owen, ada = Browser(town, "owen"), Browser(town, "ada")
    first = form_in(owen.get(SETTINGS).text, "update_repository")
    town.api("ada", "PATCH", "repositories/acme/app", {"visibility": "public"})
    sent = first.fields | {"body.shortDescription": ["by owen"]}
    assert owen.act("update_repository", sent).status_code == 303
    now = town.api("owen", "GET", "repositories/acme/app")
    assert (now["visibility"], now["shortDescription"]) == ("public", "by owen")
    # Both change the same field.
    mine = form_in(ada.get(SETTINGS).text, "update_repository")
    town.api("owen", "PATCH", "repositories/acme/app", {"shortDescription": "again"})
    sent = mine.fields | {"body.shortDescription": ["by ada"]}
    asked = ada.act("update_repository", sent)
    assert asked.status_code == 200
    assert "another user changed: Description" in text_of(asked.text)
    assert "Description again by ada" in text_of(asked.text)
    cancel = f'<a class="button quiet" href="{SETTINGS}">'
    assert f"{cancel}Cancel</a>" in asked.text
    nothing = ada.act("update_repository", mine.fields | {"review": ["1"]})
    assert "There are no changes." in nothing.text
    assert f"{cancel}Back</a>" in nothing.text
    assert town.api("owen", "GET", "repositories/acme/app")["shortDescription"] == "again"
    form = with_areas(asked.text, form_in(asked.text, "update_repository"))
    town.api("owen", "PATCH", "repositories/acme/app", {"shortDescription": "and again"})
    again = ada.act("update_repository", form.fields)
    assert "Description and again by ada" in text_of(again.text)
    form = with_areas(again.text, form_in(again.text, "update_repository"))
    assert ada.act("update_repository", form.fields).status_code == 303
    assert town.api("owen", "GET", "repositories/acme/app")["shortDescription"] == "by ada"
    unchanged = form_in(ada.get(SETTINGS).text, "update_repository")
    done = ada.act("update_repository", unchanged.fields)
    assert "Nothing was changed" in ada.get(SETTINGS, cookie=_flash(done)).text


def _flash(answer: httpx.Response) -> str:
    return str(answer.headers["set-cookie"]).partition(";")[0]


def test_two_edits_of_settings_do_not_undo_each_other(town: Town) -> None:
    admin = Browser(town, "admin")
    form = form_in(admin.get(STORAGE).text, "put_storage_settings")
    town.api("admin", "PUT", "admin/settings/storage", {"trashDays": 30, "untaggedDays": 5})
    sent = form.fields | {"body.untaggedDays": ["9"]}
    asked = admin.act("put_storage_settings", sent)
    text = text_of(asked.text)
    assert "another user changed: Delete untagged images after (days)" in text
    assert "Delete untagged images after (days) 5 9" in text
    assert "Keep deleted items" not in text, "the change of the other user is kept"
    apply = with_areas(asked.text, form_in(asked.text, "put_storage_settings"))
    assert admin.act("put_storage_settings", apply.fields | {"review": [""]}).status_code == 303
    now = town.api("admin", "GET", "admin/settings/storage")
    assert (now["trashDays"], now["untaggedDays"]) == (30, 9)


@pytest.mark.parametrize(
    ("who", "path", "operation", "field", "api"),
    [
        ("owen", "/organizations/acme/settings", "update_account", "fullName", "accounts/acme"),
        (
            "owen",
            "/organizations/acme/teams/readers",
            "update_team",
            "description",
            "accounts/acme/teams/readers",
        ),
        ("nora", "/users/nora", "update_account", "fullName", "accounts/nora"),
    ],
)
def test_accounts_and_teams_are_not_overwritten(
    town: Town, who: str, path: str, operation: str, field: str, api: str
) -> None:
    browser = Browser(town, who)
    form = form_in(browser.get(path).text, operation)
    town.api("admin", "PATCH", api, {field: "by admin"})
    asked = browser.act(operation, form.fields | {f"body.{field}": ["mine"]})
    assert "another user changed" in text_of(asked.text)
    assert town.api("admin", "GET", api)[field] == "by admin"
    assert browser.act(operation, form.fields).status_code == 303, "nothing was changed here"
    assert town.api("admin", "GET", api)[field] == "by admin"


def test_issuers_and_the_directory_are_not_overwritten(town: Town) -> None:
    admin = Browser(town, "admin")
    page = admin.get("/settings/auth").text
    oidc, directory = form_in(page, "put_oidc_settings"), form_in(page, "put_ldap_settings")
    theirs = {"name": "ci", "url": "https://ci.example", "audience": "x"}
    town.api("admin", "PUT", "admin/settings/oidc", {"issuers": [theirs]})
    mine = {f"body.issuers.0.{name}": [value.replace("ci", "my")] for name, value in theirs.items()}
    asked = admin.act("put_oidc_settings", oidc.fields | mine)
    assert "another user changed: Issuer" in text_of(asked.text)
    ldap = {"serverUrls": ["ldaps://a.example"], "userSets": [{"baseDn": "dc=x"}], "pageSize": 77}
    town.api("admin", "PUT", "admin/settings/ldap", ldap)
    form = directory.fields | {
        "body.serverUrls.0": ["ldaps://b.example"],
        "body.userSets.0.baseDn": ["dc=x"],
    }
    asked = admin.act("put_ldap_settings", form)
    assert "another user changed: Server" in text_of(asked.text)
    assert "Entries per page" not in text_of(asked.text)
    merged = msgspec.json.encode(town.api("admin", "GET", "admin/settings/ldap"))
    assert b"a.example" in merged
