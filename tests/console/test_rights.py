"""A form can do nothing that the API forbids: users send the forms of an administrator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from dtrfast.api.v0.operation import Operation
from dtrfast.console import forms
from dtrfast.console.operations import CONSOLE_OPERATIONS
from dtrfast.console.page import BY_ID
from tests.api.managed.town import PASSWORD, Town
from tests.console.browser import ORIGIN, Browser, Form, forms_of

# All pages with forms, as an administrator sees them.
PAGES = (
    "/repositories",
    "/repositories/acme/app",
    "/repositories/acme/app/-/tags/v1",
    "/repositories/acme/app/-/permissions",
    "/repositories/acme/app/-/settings",
    "/repositories/acme/app/-/delete",
    "/repositories/acme/app/-/delete-tags?tag=v1",
    "/repositories/acme/app/-/trash",
    "/repositories/acme/app/-/trash?kind=tags",
    "/trash",
    "/organizations",
    "/organizations/acme",
    "/organizations/acme/teams",
    "/organizations/acme/teams/readers",
    "/organizations/acme/members",
    "/organizations/acme/robots",
    "/organizations/acme/settings",
    "/users",
    "/users/will",
    "/users/will/tokens",
    "/users/will/sessions",
    "/settings/general",
    "/settings/security",
    "/settings/storage",
    "/settings/auth",
    "/settings/jobs",
)
# The values for fields that a user has to fill in.
_FILLED = {
    "path.namespace": "acme",
    "path.repository": "app",
    "path.grantee": "nora",
    "path.team": "readers",
    "path.member": "nora",
    "path.trust": "main",
    "body.name": "forged",
    "body.newPassword": "a password of theirs",
    "body.oldPassword": PASSWORD,
    "body.accessLevel": "admin",
    "body.username": "x",
    "body.password": "",
    "body.issuer": "gitlab",
    "body.claims.sub": "x",
    "body.certificate": "x",
    "body.key": "x",
    "body.serverUrls.0": "ldap://127.0.0.1:1",
    "body.userSets.0.baseDn": "dc=example",
    "body.dryRun": "true",
    "body.scopes.0.repository": "acme/*",
    "body.scopes.0.actions[]": "pull",
    "body.type": "managed",
    "body.csv": "mallory",
}


def _prepare(town: Town) -> None:
    """Fill the trash, create a token and a grant, so that every form is shown."""
    town.push("acme/app", b"more")
    town.api("owen", "POST", "repositories/acme", {"name": "old"}, 201)
    town.api("owen", "DELETE", "repositories/acme/old", status=204)
    town.api("owen", "PUT", "repositories/acme/app/userAccess/will", {"accessLevel": "read-only"})
    town.api("will", "POST", "accounts/will/tokens", {"name": "laptop"}, 201)
    scopes = [{"repository": "acme/*", "actions": ["pull"]}]
    town.api("owen", "POST", "accounts/acme/robots", {"name": "ci", "scopes": scopes}, 201)


def _filled(form: Form) -> dict[str, list[str]]:
    """Return the fields of a form with values for the empty ones."""
    fields = {name: values for name, values in form.fields.items() if name != "review"}
    for name, value in _FILLED.items():
        if name in fields and not any(fields[name]):
            fields[name] = [value]
    return fields


def _different_forms(town: Town) -> Iterator[tuple[Operation, dict[str, list[str]]]]:
    """Return the operation and fields of each form of an administrator, once each."""
    admin = Browser(town, "admin")
    Browser(town, "will")
    pages = {path: admin.get(path) for path in PAGES}
    assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(PAGES, 200)
    seen: set[str] = set()
    for form in [form for page in pages.values() for form in forms_of(page.text)]:
        if not form.action.startswith("/do/"):
            continue
        fields = _filled(form)
        key = json.dumps([form.operation, {k: v for k, v in fields.items() if k != "csrf"}])
        if key not in seen:
            seen.add(key)
            yield BY_ID[form.operation], fields


# Nora has no access, rita can pull from one repository, ada administers that repository.
@pytest.mark.parametrize("who", ["nora", "rita", "ada", ""])
def test_forms_of_an_administrator_do_what_the_api_lets_the_sender_do(town: Town, who: str) -> None:
    _prepare(town)
    sent = 0
    sender = Browser(town, who)
    for operation, fields in list(_different_forms(town)):
        api = _ask_api(town, who, operation, fields)
        # A forged form confirms the question and skips the review.
        answer = sender.act(operation.id, {**fields, "confirmed": ["1"], "review": [""]})
        if api < 400:
            continue  # allowed; the same form may be refused now, because the API did it already
        sent += 1
        if answer.status_code == 303:
            # The API requires a sign-in, so the console leads to the sign-in form.
            assert answer.headers["location"].startswith("/sign-in"), (operation.id, fields)
            assert api == 401
        else:
            assert answer.status_code == api, (operation.id, fields, api, answer.text)
    assert sent > 30


def _ask_api(town: Town, who: str, operation: Operation, fields: dict[str, list[str]]) -> int:
    """Return the status of the same operation when a program calls it."""
    (path, *_) = forms.paths_in(fields)
    if set(path) != {p[1:-1] for p in operation.path.split("/") if p.startswith("{")}:
        return 400
    body = forms.body_in(fields) if operation.body is not None else None
    url = operation.path.format_map({name: quote(value, safe="") for name, value in path.items()})
    if isinstance(body, dict):
        body = {name: _typed(value) for name, value in body.items()}
    return town.ask(who, operation.method, url.lstrip("/"), body).status_code


def _typed(value: object) -> object:
    """Return a value of a form as a program sends it: numbers and booleans in place of texts."""
    if isinstance(value, str):
        if value in ("true", "false"):
            return value == "true"
        if value.isdigit():
            return int(value)
        return float(value) if value.replace(".", "", 1).isdigit() else value
    if isinstance(value, dict):
        return {name: _typed(inner) for name, inner in value.items()}
    return [_typed(inner) for inner in value] if isinstance(value, list) else value


def test_every_change_that_the_api_offers_has_a_record_of_the_console() -> None:
    changing = {o.id for o in BY_ID.values() if o.method != "GET"}
    assert changing == set(CONSOLE_OPERATIONS)


def test_no_form_asks_for_what_reads(town: Town) -> None:
    admin = Browser(town, "admin")
    for operation in ("get_account", "list_logs", "no_such", "create_account.json"):
        assert admin.act(operation, {"path.name": ["will"]}).status_code == 404


def test_a_form_needs_its_session_s_token_and_this_origin(town: Town) -> None:
    owen = Browser(town, "owen")
    fields = {"path.namespace": ["acme"], "body.name": ["forged"]}
    url = "/do/create_repository"
    assert owen.post(url, fields).status_code == 403
    assert owen.post(url, {**fields, "csrf": ["x"]}).status_code == 403
    assert owen.post(url, {**fields, "csrf": [Browser(town, "ada").csrf]}).status_code == 403
    evil = {"origin": "https://evil.example"}
    assert owen.post(url, {**fields, "csrf": [owen.csrf]}, **evil).status_code == 403
    assert owen.get("/repositories/acme/forged").status_code == 404
    assert owen.act("create_repository", fields).status_code == 303
    assert owen.get("/repositories/acme/forged").status_code == 200


def test_a_sign_in_goes_on_within_this_server_only(town: Town) -> None:
    form = {"username": "owen", "password": PASSWORD}
    for wanted in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"):
        answer = Browser(town).post("/sign-in", {**form, "next": wanted})
        assert answer.headers["location"] == "/", wanted
    answer = Browser(town).post("/sign-in", {**form, "next": "/logs?level=error"})
    assert answer.headers["location"] == "/logs?level=error"
    owen = Browser(town, "owen")
    fields = {"path.namespace": ["acme"], "body.name": ["elsewhere"], "next": ["//evil.example"]}
    assert owen.act("create_repository", fields).headers["location"] == "/"
    assert ORIGIN not in Browser(town, "admin").get("/").headers["location"]


def test_refusals_are_audited_and_looks_are_not(town: Town) -> None:
    rita = Browser(town, "rita")
    rita.get("/repositories/acme/app")
    rita.get("/organizations/acme")
    assert not town.events.of("refusal")
    fields = {"path.namespace": ["acme"], "body.name": ["mine"]}
    assert rita.act("create_repository", fields).status_code == 403
    assert [event.actor for event in town.events.of("refusal")] == ["rita"]
