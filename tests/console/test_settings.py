"""Pages of settings: their forms, their cost, and settings in words."""

from __future__ import annotations

import html
import re
from functools import partial
from pathlib import Path

import pytest

from dtrfast import markdown
from dtrfast.identity import settings
from dtrfast.identity.oidc import Issuer
from dtrfast.identity.settings import OidcSettings
from dtrfast.machine import certificates
from dtrfast.machine.paths import Layout
from dtrfast.registry import job_records, usage, usage_scopes
from dtrfast.registry.job_records import Run, Wish
from dtrfast.registry.writing import Author
from tests.api.managed.town import Town
from tests.console.browser import Browser, forms_of

ROOT = Path(__file__).parents[2]


def _text(page: str) -> str:
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split())


# ---- storage -----------------------------------------------------------------------------------
def test_the_trash_is_measured_when_somebody_asks(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.api("owen", "DELETE", "repositories/acme/secret", status=204)
    admin = Browser(town, "admin")
    measured: list[object] = []

    def measure(engine: object, store: object, scope: object) -> _Seven:
        measured.append(scope)
        return _Seven()

    monkeypatch.setattr(usage, "measure", measure)
    page = admin.get("/settings/storage").text
    assert not measured
    assert 'hx-get="/settings/storage?trash=1"' in page
    assert 'href="/settings/storage?trash=1"' in page
    fragment = admin.get("/settings/storage?trash=1", **{"hx-request": "true"})
    assert measured == [usage_scopes.of_trash]
    assert _text(fragment.text) == "7 B in 1 item"
    assert "7 B in 1 item" in _text(admin.get("/settings/storage?trash=1").text)


class _Seven:
    unique_bytes = 7
    is_part = False


def test_the_list_of_large_repositories_tells_how_many_are_measured(town: Town) -> None:
    admin = Browser(town, "admin")
    assert "Not measured yet." in _text(admin.get("/settings/storage").text)
    town.api("owen", "POST", "repositories/acme", {"name": "hollow"}, 201)
    count = town.api("admin", "GET", "admin/storage")["repositories"]
    for name in ("app", "hollow"):
        town.api("admin", "GET", f"repositories/acme/{name}/usage")
    page = admin.get("/settings/storage").text
    text = _text(page)
    assert f"2 of {count} repositories measured. Measure all repositories" in text
    assert "acme/app</a></th>" in page
    assert "acme/hollow" not in page, "deleting it frees nothing"
    # The button follows the table once nothing is missing.
    every = town.api("admin", "GET", "repositories?limit=1000")["repositories"]
    assert len(every) == count
    for one in every:
        place = f"repositories/{one['namespace'] or '_'}/{one['name']}"
        town.api("admin", "GET", f"{place}/usage")
    text = _text(admin.get("/settings/storage").text)
    assert f"{count} of {count} repositories measured. Repositories by" in text


def test_whole_numbers_are_shown_as_such(town: Town) -> None:
    page = Browser(town, "admin").get("/settings/storage").text
    assert re.search(r'name="body.trashDays"[^>]* value="14"', page)
    assert 'value="14.0"' not in page
    town.api("admin", "PUT", "admin/settings/storage", {"trashDays": 0.5})
    page = Browser(town, "admin").get("/settings/storage").text
    assert re.search(r'name="body.trashDays"[^>]* value="0.5"', page)


def test_the_backend_is_named(town: Town) -> None:
    state = town.api("admin", "GET", "admin/storage")
    assert state["path"] == str(Path("data").absolute())
    assert re.fullmatch(r"[\w.]*", state["fileSystem"])
    page = _text(Browser(town, "admin").get("/settings/storage").text)
    assert f"Kind Local directory Path {state['path']}" in page


# ---- general, security, about ------------------------------------------------------------------
def test_settings_of_the_server_are_in_words(town: Town) -> None:
    page = _text(Browser(town, "admin").get("/settings/general").text)
    assert "Worker processes one for each core server.workers default" in page
    assert "DTRFAST_SERVER_EXTERNAL_URL=" in page
    assert "Not set" in page


def test_who_has_no_tls_is_told_how_to_get_it(town: Town) -> None:
    page = html.unescape(Browser(town, "admin").get("/settings/security").text)
    for command in ("dtrfast serve --bind :5000", "--tls-cert registry.crt", "EXTERNAL_URL=https"):
        assert f'data-copy="{command}' in page or command in page


def test_a_certificate_is_looked_at_before_it_is_used(town: Town, tmp_path: Path) -> None:
    certificates.ensure(tmp_path, ["registry.example"])
    pem = Layout(tmp_path).certificate_pair.read_text()
    certificate, key = pem.split("-----BEGIN PRIVATE KEY-----")
    fields = {
        "at": ["/settings/security"],
        "body.certificate": [certificate],
        "body.key": [f"-----BEGIN PRIVATE KEY-----{key}"],
    }
    admin = Browser(town, "admin")
    asked = admin.act("put_certificate", fields)
    assert "The new certificate is for registry.example" in html.unescape(asked.text)
    assert re.search(
        'valid until <time datetime="[^"]*" title="[^"]* UTC" data-form="full">', asked.text
    )
    assert 'href="/settings/security">Cancel</a>' in asked.text
    wrong = admin.act("put_certificate", {**fields, "body.key": ["x"]})
    assert wrong.status_code == 400
    assert "Not a private key" in wrong.text
    assert Browser(town, "owen").act("put_certificate", fields).status_code == 403


def test_update_notes_are_those_of_this_version(town: Town) -> None:
    page = Browser(town, "admin").get("/settings/about").text
    first = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1]
    assert markdown.to_html(f"## {first.strip()}") in page


# ---- jobs --------------------------------------------------------------------------------------
def _run(town: Town, number: int, job: str, state: str) -> None:
    lines = tuple(f"line {n}" for n in range(3))
    run = Run(number, job, state, "admin", 1, 2, result="ok", log=lines)  # type: ignore[arg-type]
    town.engine.write(partial(job_records.put_run, run=run))


def test_waiting_jobs_are_shown(town: Town) -> None:
    admin = Browser(town, "admin")
    assert "waiting" not in _text(admin.get("/settings/jobs").text)
    town.engine.write(partial(job_records.wish, wanted=Wish("measure", "admin", 1)))
    page = admin.get("/settings/jobs").text
    assert "measure waiting" in _text(page)
    assert 'hx-trigger="load delay:1s"' in page


def test_runs_are_filtered_and_polls_keep_what_they_show(town: Town) -> None:
    _run(town, 1, "check", "done")
    _run(town, 2, "measure", "running")
    _run(town, 3, "check", "error")
    admin = Browser(town, "admin")
    page = admin.get("/settings/jobs?job=check").text
    history = page.partition('id="runs"')[2].partition("</table>")[0]
    assert ">measure</th>" not in history
    assert _text(history).count("check") >= 2
    page = admin.get("/settings/jobs?state=running&start=3").text
    history = page.partition('id="runs"')[2].partition("</table>")[0]
    assert 'hx-get="/settings/jobs?state=running&amp;start=3"' in history
    assert ">check</th>" not in history
    assert '<details id="run-2" hx-preserve="true">' in history
    log = admin.get("/settings/jobs/log?run=2").text
    assert "line 2" in log
    assert "hx-trigger" in log
    assert "hx-trigger" not in admin.get("/settings/jobs/log?run=3").text
    assert admin.get("/settings/jobs/log?run=9").status_code == 404
    assert Browser(town, "owen").get("/settings/jobs/log?run=2").status_code == 403
    assert "No run matches." in admin.get("/settings/jobs?job=none").text
    # After an expiry, the sign-in leads to the page, not to its polled part.
    for address, wanted in (
        ("http://registry/settings/jobs?job=check#run-2", "%2Fsettings%2Fjobs%3Fjob%3Dcheck"),
        ("http://registry//evil.example", "%2F"),
        ("http://[", "%2F"),
    ):
        polled = {"hx-request": "true", "hx-current-url": address}
        led = Browser(town).get("/settings/jobs/log?run=2", **polled)
        assert led.headers["hx-redirect"] == f"/sign-in?next={wanted}", address


def test_settings_are_for_administrators(town: Town) -> None:
    owen = Browser(town, "owen")
    for tab in ("general", "security", "storage", "auth", "jobs", "about"):
        answer = owen.get(f"/settings/{tab}")
        assert answer.status_code == 403
        assert not [f for f in forms_of(answer.text) if f.action.startswith("/do/")]


# ---- issuers -----------------------------------------------------------------------------------
def test_a_file_that_may_not_be_read_any_more_can_be_taken_out_of_an_issuer(town: Town) -> None:
    issuer = Issuer(
        name="ci", url="https://127.0.0.1:1", audience="x", bearer_token_file="/run/old/token"
    )
    author = Author("system", town.clock())
    document = OidcSettings(issuers=(issuer,))
    town.engine.write(lambda transaction: settings.put(transaction, author, document))
    admin = Browser(town, "admin")
    name = "body.issuers.0.bearerTokenFile"
    form = next(
        f
        for f in forms_of(admin.get("/settings/auth").text)
        if f.fields.get(name) == ["/run/old/token"]
    )
    refused = admin.act("put_oidc_settings", form.fields)
    assert refused.status_code == 400
    assert "auth.token_file_directories" in refused.text
    admin.act("put_oidc_settings", {**form.fields, name: [""], "review": [""]})
    kept = town.api("admin", "GET", "admin/settings/oidc")["issuers"]
    assert [one["bearerTokenFile"] for one in kept] == [""]
