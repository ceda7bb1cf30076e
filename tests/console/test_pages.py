"""Pages as the server sends them: their content, size and errors."""

from __future__ import annotations

import gzip
import json
import re
import time

import pytest

from dtrfast.machine import limits
from dtrfast.machine.limits import CpuLimit, MemoryLimit
from tests.api.managed.town import Town
from tests.console.browser import Browser, forms_of

COMPRESSED_SIZE_MAX = 150_000


def test_who_is_not_signed_in_is_sent_there_and_back(town: Town) -> None:
    answer = Browser(town).get("/repositories/acme/app/-/tags/v1?x=1")
    assert answer.status_code == 303
    wanted = "/sign-in?next=%2Frepositories%2Facme%2Fapp%2F-%2Ftags%2Fv1%3Fx%3D1"
    assert answer.headers["location"] == wanted


def test_public_repositories_need_no_sign_in(town: Town) -> None:
    visitor = Browser(town)
    assert "acme/open" in visitor.get("/repositories").text
    assert "acme/app" not in visitor.get("/repositories").text
    assert visitor.get("/repositories/acme/open/-/tags/v1").status_code == 200


def test_what_is_hidden_looks_like_what_is_not_there(town: Town) -> None:
    nora = Browser(town, "nora")
    hidden = nora.get("/repositories/acme/secret")
    absent = nora.get("/repositories/acme/absent")
    assert hidden.status_code == absent.status_code == 404
    pages = [re.sub('name="now" content="[^"]+"', "", one.text) for one in (hidden, absent)]
    assert pages[0].replace("secret", "x") == pages[1].replace("absent", "x")


def test_programs_get_no_pages(town: Town) -> None:
    for path in ("/v2/none/of/this", "/api/v0/none", "/nothing"):
        answer = town.client.get(path, headers={"accept": "application/json"})
        assert answer.headers["content-type"] == "application/json", path
    answer = town.client.get("/v2/none/of/this", headers={"accept": "text/html"})
    assert answer.headers["content-type"] == "application/json"


def test_lists_are_filtered_sorted_and_paged_by_their_address(town: Town) -> None:
    for number in range(60):
        body = {"name": f"many-{number:02d}"}
        town.api("owen", "POST", "repositories/acme", body, 201)
    owen = Browser(town, "owen")
    first = owen.get("/repositories?filter=many").text
    assert "many-00" in first
    assert "many-59" not in first
    second = owen.get("/repositories?filter=many&start=acme%2Fmany-50").text
    assert "many-49" not in second
    assert "many-59" in second
    backwards = owen.get("/repositories?filter=many&sort=-name").text
    assert backwards.index("many-59") < backwards.index("many-58")
    assert "many-05" not in backwards
    assert "many-05" in owen.get("/repositories?filter=many&sort=-name&start=50").text


def test_the_first_page_is_small(town: Town) -> None:
    owen = Browser(town, "owen")
    page = owen.get("/repositories")
    assets = [
        part.partition('"')[0]
        for part in page.text.split('="')
        if part.startswith("/static/") and "#" not in part.partition('"')[0]
    ]
    total = len(gzip.compress(page.content))
    for path in {*assets, "/static/icons.svg"}:
        answer = owen.get(path, **{"accept-encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        total += int(answer.headers["content-length"])
    assert total < COMPRESSED_SIZE_MAX


def test_assets_are_kept_as_long_as_they_are_the_same(town: Town) -> None:
    visitor = Browser(town)
    css = next(
        part.partition('"')[0]
        for part in visitor.get("/sign-in").text.split('"')
        if part.startswith("/static/console.css")
    )
    answer = visitor.get(css)
    assert "immutable" in answer.headers["cache-control"]
    assert visitor.get("/static/console.css?old").headers["cache-control"] == "no-cache"
    again = visitor.get(css, **{"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    for path in ("/static/../page.py", "/static/vendor%2Fhtmx.min.js", "/static/none.js"):
        assert visitor.get(path).status_code == 404


def test_a_refusal_keeps_what_was_typed(town: Town) -> None:
    owen = Browser(town, "owen")
    fields = {"path.namespace": ["acme"], "body.name": ["UPPER/CASE"]}
    page = owen.act("create_repository", fields)
    assert page.status_code == 400
    assert 'value="UPPER/CASE"' in page.text, "the form is shown again with its text"
    page = owen.act("create_repository", {**fields, "at": ["/trash"]})
    assert "UPPER/CASE</pre>" in page.text, "a form that its page lacks shows the text to copy it"
    fragment = owen.act("create_repository", fields, **{"hx-request": "true"})
    assert fragment.status_code == 400
    assert "<html" not in fragment.text
    assert 'role="alert"' in fragment.text


def test_a_script_is_sent_on_without_a_redirect(town: Town) -> None:
    owen = Browser(town, "owen")
    fields = {"path.namespace": ["acme"], "body.name": ["made"], "next": ["/repositories/{name}"]}
    answer = owen.act("create_repository", fields, **{"hx-request": "true"})
    assert answer.status_code == 200
    assert answer.headers["hx-redirect"] == "/repositories/acme/made"


def test_what_was_done_is_told_once_with_its_undo(town: Town) -> None:
    owen = Browser(town, "owen")
    fields = {"path.namespace": ["acme"], "path.repository": ["app"], "path.reference": ["v1"]}
    done = owen.act("delete_manifest", {**fields, "next": ["/repositories/acme/app/-/tags"]})
    told = done.headers["set-cookie"].partition(";")[0]
    page = owen.get("/repositories/acme/app/-/tags", cookie=told)
    assert "Deleted v1 from acme/app." in page.text
    assert "Max-Age=0" in page.headers["set-cookie"]
    undo = next(form for form in forms_of(page.text) if form.operation == "restore_tag")
    assert owen.act("restore_tag", undo.fields).status_code == 303
    assert town.api("owen", "GET", "repositories/acme/app/tags")["tags"][0]["name"] == "v1"


@pytest.mark.parametrize("value", ["x", "e30", "W10", "%FF", "eyJvcGVyYXRpb24iOiAxfQ"])
def test_a_made_up_notice_breaks_nothing(town: Town, value: str) -> None:
    owen = Browser(town, "owen")
    assert owen.get("/repositories", cookie=f"dtrfast_done={value}").status_code == 200


def test_many_tags_go_in_one_form_and_what_cannot_is_told(town: Town) -> None:
    owen = Browser(town, "owen")
    fields = {
        "path.namespace": ["acme"],
        "path.repository": ["app"],
        "path.reference": ["v1", "no-such-tag"],
    }
    done = owen.act("delete_manifest", fields)
    assert done.status_code == 303
    told = done.headers["set-cookie"].partition(";")[0]
    page = owen.get("/repositories/acme/app/-/tags", cookie=told)
    assert "1 done, 1 refused" in page.text


def test_a_change_of_settings_shows_its_difference_and_no_secret(town: Town) -> None:
    admin = Browser(town, "admin")
    fields = {"body.createOnPush": ["false"], "body.publicOnPush": ["false"], "review": ["1"]}
    shown = admin.act("put_access_settings", {**fields, "body.tokenDaysDefault": ["30"]})
    assert "Create repositories on push" in shown.text
    assert "are public" not in shown.text.partition("<table")[2]
    assert town.api("admin", "GET", "admin/settings/access")["createOnPush"] is True
    ldap = {
        "body.serverUrls.0": ["ldaps://ldap.example"],
        "body.userSets.0.baseDn": ["dc=example"],
        "body.searchDn": ["cn=search"],
        "body.searchPassword": ["the secret"],
        "review": ["1"],
    }
    shown = admin.act("put_ldap_settings", ldap, **{"hx-request": "true"})
    assert "Search account (DN)" in shown.text
    assert "the secret" not in shown.text


def test_a_fault_in_a_page_says_nothing_of_the_inside(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("the inside")

    owen = Browser(town, "owen")
    monkeypatch.setattr("dtrfast.console.frame.values", fail)
    answer = owen.get("/repositories")
    assert answer.status_code == 500
    assert "the registry failed unexpectedly" in answer.text
    assert "ZeroDivision" not in answer.text


def test_the_dashboard_shows_limits_of_control_groups(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = Browser(town, "admin")
    monkeypatch.setattr(limits, "read_cpu", lambda root=None: None)
    monkeypatch.setattr(limits, "read_memory", lambda root=None: None)
    plain = admin.get("/dashboard").text
    assert "(limit)" not in plain
    assert "of the host" not in plain
    monkeypatch.setattr(limits, "read_cpu", lambda root=None: CpuLimit(0.25, 1.0))
    monkeypatch.setattr(limits, "read_memory", lambda root=None: MemoryLimit(384 << 20, 96 << 20))
    shown = admin.get("/dashboard").text
    assert "\N{EN DASH} of 0.25 cores (limit)" in shown, "no value of the last minute is known"
    for heading in ("CPU (limit)", "Memory (limit)", "Disk", "Network"):
        assert f"<h3>{heading}</h3>" in shown
    assert "96.0 MiB of 384 MiB (limit)" in shown


def test_histories_are_json_for_administrators_alone(town: Town) -> None:
    history = Browser(town, "admin").get("/dashboard/history?seconds=900")
    found = json.loads(history.content)
    assert abs(found.pop("now") - time.time()) < 60
    assert found == {"stepSeconds": 0, "times": [], "columns": {}}
    assert Browser(town, "owen").get("/dashboard/history").status_code == 403


@pytest.mark.long
def test_a_repository_of_an_accounts_name_leads_to_the_account(town: Town) -> None:
    town.push("acme", b"collection")
    owen = Browser(town, "owen")
    assert '<a href="/repositories/acme">acme</a>' in owen.get("/organizations/acme").text
    text = owen.get("/repositories/acme").text
    assert '<li><a href="/organizations/acme">acme</a></li>' in text
    text = owen.get("/repositories/acme/-/permissions").text
    assert 'Owners of <a href="/organizations/acme">acme</a>' in text
    assert '<option value="readers">' in text
    fields = {
        "path.namespace": ["_"],
        "path.repository": ["acme"],
        "path.team": ["readers"],
        "body.accessLevel": ["read-only"],
    }
    assert owen.act("grant_team_access", fields).status_code == 303
    page = owen.get("/organizations/acme/teams/readers").text
    forms = [f for f in forms_of(page) if f.operation == "revoke_team_access"]
    pieces = [(f.fields["path.namespace"], f.fields["path.repository"]) for f in forms]
    assert pieces == [(["_"], ["acme"]), (["acme"], ["app"])]
    nora = Browser(town, "nora")
    town.push("nora", b"collection", who="nora")
    assert '<a href="/repositories/nora">nora</a>' in nora.get("/repositories?tab=mine").text
    assert '<li><a href="/users/nora">nora</a></li>' in nora.get("/repositories/nora").text
