"""Bounds: pushed content cannot make pages slow, or break them."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from starlette.datastructures import Headers

from dtrfast.api import browsers
from dtrfast.cli import output
from dtrfast.oci.digests import Digest
from dtrfast.oci.images import parse_config
from dtrfast.oci.manifests import Manifest, read_manifest
from dtrfast.oci.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from dtrfast.registry import descriptions, outlines, usage
from tests.api.managed.town import Town, basic
from tests.console.browser import Browser, forms_of
from tests.fakes.client import descriptor, image_manifest, index_manifest
from tests.walks import costs

APP = "/repositories/acme/app"
INDEX = "application/vnd.oci.image.index.v1+json"


def push(town: Town, tag: str, manifest: bytes, media_type: str = OCI_MANIFEST) -> str:
    headers = {**basic("owen"), "content-type": media_type}
    answer = town.client.put(f"/v2/acme/app/manifests/{tag}", headers=headers, content=manifest)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["docker-content-digest"])


def push_blob(town: Town, content: bytes) -> None:
    url = f"/v2/acme/app/blobs/uploads/?digest={Digest.of_bytes(content)}"
    assert town.client.post(url, headers=basic("owen"), content=content).status_code == 201


def push_config(town: Town, tag: str, config: bytes, **fields: object) -> None:
    """Push an image with this config; `fields` are those of the config's descriptor."""
    push_blob(town, config)
    manifest = json.loads(image_manifest(b"app", config=config))
    manifest["config"] = {**descriptor(config, OCI_CONFIG), **fields}
    push(town, tag, json.dumps(manifest).encode())


@pytest.mark.parametrize(
    "config",
    [
        {"os": "\ud800", "architecture": "amd64"},
        {"os": "linux", "config": {"Env": ["A=\udfff"], "Labels": {"\ud800": "\ud800"}}},
        {"os": ["linux"], "history": {"0": 1}, "config": "none"},
    ],
)
def test_a_config_of_half_characters_and_other_types_is_shown(town: Town, config: object) -> None:
    push_config(town, "odd", json.dumps(config).encode())
    admin = Browser(town, "admin")
    for page in ("tags", "tags/odd", "compare?from=odd&to=v1", "delete-tags?tag=odd"):
        assert admin.get(f"{APP}/-/{page}").status_code == 200


def test_a_config_is_as_large_as_it_is(town: Town) -> None:
    config = json.dumps({"os": "linux", "more": "x" * (300 << 10)}).encode()
    push_config(town, "fat", config, size=10)
    (fat,) = town.api("owen", "GET", "repositories/acme/app/images?filter=fat")["images"]
    assert fat["platforms"] == []
    assert town.api("owen", "GET", "repositories/acme/app/manifests/fat")["platform"] == ""


def test_a_manifest_is_parsed_once_however_often_an_index_names_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = image_manifest(b"app")
    entry = descriptor(child, OCI_MANIFEST)
    push(town, "many", index_manifest(*[entry] * 300), INDEX)
    monkeypatch.setattr(outlines, "_outlines", outlines.Outlines())
    parsed: list[str] = []

    def parse(body: bytes, media_type: str) -> Manifest:
        parsed.append(media_type)
        return read_manifest(body, media_type)

    monkeypatch.setattr(outlines, "read_manifest", parse)
    found = town.api("owen", "GET", "repositories/acme/app/manifests/many")
    assert len(found["platforms"]) == 300
    assert parsed.count(OCI_MANIFEST) == 1
    assert parsed.count(INDEX) <= 3
    parsed.clear()
    town.api("owen", "GET", "repositories/acme/app/images")
    assert len(parsed) <= 1, "parsed manifests are kept"


def test_an_answer_parses_so_much_and_no_more(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "_outlines", outlines.Outlines())
    monkeypatch.setattr(descriptions, "_PARSED_SIZE_MAX", 10)
    (found,) = town.api("owen", "GET", "repositories/acme/app/images")["images"]
    assert (found["tag"], found["size"], found["isExact"]) == ("v1", 0, False)


def test_entries_of_an_index_are_read_one_by_one(town: Town) -> None:
    child = descriptor(image_manifest(b"app"), OCI_MANIFEST)
    good = {**child, "platform": {"os": "linux", "architecture": "arm64"}}
    bad = [
        {**child, "platform": {"os": None, "architecture": 7}},
        {**child, "platform": "linux"},
        {**child, "annotations": {"n": 1}},
    ]
    town.keep_manifest("odd", index_manifest(*bad, good), INDEX)
    found = town.api("owen", "GET", "repositories/acme/app/manifests/odd")
    assert [one["platform"] for one in found["platforms"]] == ["", "", "", "linux/arm64"]
    assert all(one["size"] for one in found["platforms"])


@pytest.mark.alone
@pytest.mark.parametrize(
    "line",
    [
        "|1 " + " " * 4000,
        " " * 4090,
        "RUN |9 " + "x " * 2000,
        "/bin/sh -c #(nop)" + "\t" * 4000,
        "HEALTHCHECK &{[" + '"\\' * 2000,
        "HEALTHCHECK &{[" + '] "' * 1300,
    ],
)
def test_a_history_of_blanks_is_read_at_once(line: str) -> None:
    config = json.dumps({"history": [{"created_by": line}] * 62}).encode()
    parsing = costs.measure("parse", lambda: parse_config(config))
    assert parsing.share < 2, parsing


def test_many_forms_in_one_are_refused(town: Town) -> None:
    fields = {
        "path.namespace": ["acme"],
        "path.repository": ["app"],
        "path.reference": [f"v{number}" for number in range(201)],
    }
    answer = Browser(town, "admin").act("delete_manifest", fields)
    assert answer.status_code == 400
    assert "Choose 200 at most" in answer.text


# ---- sessions ----------------------------------------------------------------------------------
def test_who_changed_a_password_signs_in_again(town: Town) -> None:
    nora = Browser(town, "nora")
    fields = {
        "path.name": ["nora"],
        "body.oldPassword": ["correct horse battery"],
        "body.newPassword": ["another battery"],
    }
    assert nora.act("change_password", fields).status_code == 303
    assert nora.get("/users/nora").headers["location"].startswith("/sign-in?next=")
    assert nora.get("/repositories").status_code == 200, "without a sign-in"
    form = {"username": "nora", "password": "another battery"}
    assert nora.post("/sign-in", form).status_code == 303


def test_who_is_signed_in_may_sign_in_as_somebody_else(town: Town) -> None:
    nora = Browser(town, "nora")
    form = {"username": "will", "password": "correct horse battery"}
    assert nora.post("/sign-in", form).status_code == 303
    assert nora.post("/sign-in", form, origin="http://elsewhere").status_code == 403


def test_somebody_elses_session_is_not_ended(town: Town) -> None:
    Browser(town, "will")
    (session,) = town.api("will", "GET", "accounts/will/sessions")["sessions"]
    fields = {"path.name": ["will"], "path.session": [session["id"]]}
    assert Browser(town, "nora").act("delete_session", fields).status_code == 403
    assert len(town.api("will", "GET", "accounts/will/sessions")["sessions"]) == 1


@pytest.mark.parametrize(
    "header", ['x={"a":1}; s=1', "foo bar=1; s=1", 'x="un; s=1', "x=" + "y" * 9000 + "; s=1"]
)
def test_cookies_of_others_are_left_alone(header: str) -> None:
    headers = Headers({"cookie": header})
    assert browsers.cookie_of(headers, "s", is_secure=False) == "1"
    assert browsers.cookie_of(headers, "t", is_secure=False) == ""


# ---- addresses ---------------------------------------------------------------------------------
def test_no_page_leads_to_another_host(town: Town) -> None:
    fields = {
        "path.namespace": ["acme"],
        "body.name": ["fresh"],
        "body.visibility": ["private"],
        "next": ["/{name}/elsewhere.example"],
    }
    answer = Browser(town, "owen").act("create_repository", fields)
    assert answer.headers["location"] == "/acme/fresh/elsewhere.example"
    wants = ("//elsewhere.example", "/\\elsewhere.example", "https://elsewhere.example")
    for number, wanted in enumerate(wants):
        fields["next"], fields["body.name"] = [wanted], [f"fresh{number}"]
        assert Browser(town, "owen").act("create_repository", fields).headers["location"] == "/"


@pytest.mark.parametrize("start", ["\u00b2", "x" * 300, "-1", "\x00"])
def test_a_page_that_nobody_made_is_no_failure(town: Town, start: str) -> None:
    owen = Browser(town, "owen")
    for path in ("/trash", f"{APP}/-/tags", f"{APP}/-/trash", "/repositories", "/organizations"):
        assert owen.get(f"{path}?start={quote(start)}").status_code < 500
    fields = {"path.id": [start], "next": ["/"]}
    assert owen.act("restore_repository", fields).status_code < 500


def test_a_review_without_its_path_is_refused(town: Town) -> None:
    for operation in ("create_account", "create_repository", "put_trust", "update_account"):
        assert Browser(town, "admin").act(operation, {"review": ["1"]}).status_code == 400


# ---- what others hold --------------------------------------------------------------------------
def test_numbers_do_not_tell_what_others_hold(town: Town) -> None:
    """Nora pushes a layer that acme/secret has, and a layer that no repository has: all numbers are
    equal.
    """
    found = []
    for number, layer in enumerate((b"secret", b"unheld")):
        name = f"probe{number}"
        town.api("nora", "POST", "repositories/nora", {"name": name}, 201)
        town.push(f"nora/{name}", layer, who="nora")
        usage = town.api("nora", "GET", f"repositories/nora/{name}/usage")
        found.append({key: value for key, value in usage.items() if key.endswith("Bytes")})
        assert usage["isAtMost"]
    assert found[0] == found[1]
    exact = town.api("admin", "GET", "repositories/nora/probe0/usage")
    assert not exact["isAtMost"]
    assert exact["sharedBytes"] > found[0]["sharedBytes"]
    town.api("", "GET", "repositories/acme/open/usage", status=401)


# ---- terminals ---------------------------------------------------------------------------------
def test_a_terminal_is_sent_no_commands(capsys: pytest.CaptureFixture[str], town: Town) -> None:
    output.say("plain")
    assert output._text("\x1b]0;owned\x07\r\nnext") == "\ufffd]0;owned\ufffd\ufffd\nnext"
    body = {"fullName": "\x1b[2J"}
    assert town.ask("nora", "PATCH", "accounts/nora", body).status_code == 400


def test_forms_of_a_page_carry_its_token(town: Town) -> None:
    nora = Browser(town, "nora")
    for form in forms_of(nora.get("/users/nora/tokens").text):
        assert form.fields["csrf"] == [nora.csrf]
    answer = nora.post("/do/create_token", {"path.name": "nora", "body.name": "x"})
    assert answer.status_code == 403


def test_pages_say_that_they_show_a_part(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Browser(town, "owen")
    layers = [descriptor(b"app", OCI_LAYER)] * 600
    push(town, "many", image_manifest(fields={"layers": layers}))
    assert "lists are cut" in page.get("/repositories/acme/app/-/tags/many").text
    assert "lists are cut" not in page.get("/repositories/acme/app/-/tags/v1").text
    compared = page.get("/repositories/acme/app/-/compare?from=many&to=v1").text
    assert "more layers than a page compares" in compared
    monkeypatch.setattr(usage, "SCOPE_STEPS", 3)
    measured = page.get("/repositories/acme/app/-/usage").text
    assert "The numbers are those of a part" in " ".join(measured.split())
    preview = page.get("/repositories/acme/app/-/delete-tags?tag=v1").text
    assert "at least those of a part" in " ".join(preview.split())
    town.api("owen", "PATCH", "repositories/acme/app", {"longDescription": "![" * 32_000})
    assert "Shown as plain text" in page.get("/repositories/acme/app").text
