"""Forms: their errors, their text after a refusal or a sign-in, and the edits of two users."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx
import msgspec
import pytest

from dtrfast.api.v0 import validation
from dtrfast.api.v0.validation import PROBLEMS_MAX, problems_of
from dtrfast.console import forms, refilling, refusals
from dtrfast.console.refilling import Refill
from dtrfast.identity.kept_texts import TEXT_SIZE_MAX, KeptTexts
from dtrfast.identity.ldap.settings import LdapSettings
from dtrfast.registry.policies import StorageSettings
from tests.api.managed.town import PASSWORD, Town, session_cookie
from tests.console.browser import (
    ORIGIN,
    Browser,
    control_in,
    form_in,
    forms_of,
    text_of,
    with_areas,
)

SETTINGS = "/repositories/acme/app/-/settings"
STORAGE = "/settings/storage"


# ---- errors at fields --------------------------------------------------------------------------
def test_all_wrong_fields_are_told_at_once(town: Town) -> None:
    body = {"trashDays": -1, "reserveBytes": "much", "scrubDays": 1}
    refused = town.api("admin", "PUT", "admin/settings/storage", body, 400)
    assert refused["errors"] == [
        {
            "code": "UNSUPPORTED",
            "message": "trashDays: give at least 0",
            "detail": {"field": "trashDays", "reason": "give at least 0"},
        },
        {
            "code": "UNSUPPORTED",
            "message": "reserveBytes: give a whole number",
            "detail": {"field": "reserveBytes", "reason": "give a whole number"},
        },
    ]
    document = {"serverUrls": ["a"], "userSets": [{}, {"baseDn": "x", "scope": "all"}]}
    found = [str(one) for one in problems_of(document, LdapSettings, strict=False)]
    assert found == [
        "userSets[0].baseDn: this is missing",
        "userSets[1].scope: 'all' is none of the values that this may have",
    ]
    assert problems_of([1], StorageSettings, strict=True) == []
    deep = b"[" * 100_000
    answer = town.client.request(
        "PUT", "/api/v0/admin/settings/storage", content=deep, headers=_basic("admin")
    )
    assert answer.status_code == 400


def _basic(name: str) -> dict[str, str]:
    header = httpx.BasicAuth(name, PASSWORD)._auth_header
    return {"authorization": header, "content-type": "application/json"}


def test_a_long_document_costs_no_more_than_its_first_faults(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = 0
    convert = msgspec.convert

    def counted(*given: Any, **options: Any) -> Any:
        nonlocal converted
        converted += 1
        return convert(*given, **options)

    good, count = {"baseDn": "dc=x"}, 10 * validation._ENTRIES_MAX
    with monkeypatch.context() as patch:
        patch.setattr(msgspec, "convert", counted)
        many = {"serverUrls": ["a"], "userSets": [{}] * count}
        assert len(problems_of(many, LdapSettings, strict=False)) == PROBLEMS_MAX
        assert converted < 2 * PROBLEMS_MAX
        many["userSets"] = [good] * count + [{"baseDn": 1}]
        found = problems_of(many, LdapSettings, strict=False)
        assert [one.field for one in found] == [f"userSets[{count}].baseDn"]
        assert converted < 2 * validation._ENTRIES_MAX
    # Lists that are not of objects have a bound, because each of their texts is checked.
    scope = {"repository": "acme/app", "actions": ["pull"] * 17}
    trust = {"issuer": "x", "claims": {f"c{number}": "" for number in range(101)}}
    for method, path, body, reason in (
        ("POST", "accounts/owen/tokens", {"name": "x", "scopes": [scope]}, "scopes[0].actions: 16"),
        ("PUT", "repositories/acme/app/trusts/x", trust, "claims: 100"),
        ("PUT", "repositories/acme/app/trusts/x", trust | scope, "actions: 16"),
    ):
        refused = town.api("owen", method, path, body, 400)
        field, _, most = reason.partition(": ")
        told = [one["message"] for one in refused["errors"]]
        assert f"{field}: give at most {most} of them" in told, told


def test_errors_of_documents_name_the_row(town: Town) -> None:
    good = {"url": "https://ci.example", "audience": "x"}
    body = {"issuers": [{"name": "a", **good}, {"name": "B!", "url": "http://x.example"}]}
    refused = town.api("admin", "PUT", "admin/settings/oidc", body, 400)
    assert [one["detail"]["field"] for one in refused["errors"]] == ["issuers[1].audience"]
    body["issuers"][1] |= {"audience": "x"}
    refused = town.api("admin", "PUT", "admin/settings/oidc", body, 400)
    assert [one["detail"]["field"] for one in refused["errors"]] == ["issuers[1].name"]
    body["issuers"][1] |= {"name": "a", **good}
    refused = town.api("admin", "PUT", "admin/settings/oidc", body, 400)
    assert [one["detail"]["field"] for one in refused["errors"]] == [
        "issuers[1].name",
        "issuers[1].url",
    ]


def test_a_refused_form_comes_back_with_its_text_and_the_errors(town: Town) -> None:
    admin = Browser(town, "admin")
    form = form_in(admin.get(STORAGE).text, "put_storage_settings")
    sent = form.fields | {
        "body.trashDays": ['<b>"for ever"'],
        "body.reserveBytes": ["2"],
        "unit.body.reserveBytes": ["TiB"],
        "body.scrubBytesPerSecond": ["1"],
        "unit.body.scrubBytesPerSecond": ["B"],
    }
    refused = admin.act("put_storage_settings", sent)
    assert refused.status_code == 400
    page = refused.text
    days = control_in(page, "body.trashDays")
    assert 'value="&lt;b&gt;&quot;for ever&quot;"' in days
    assert 'aria-invalid="true"' in days
    assert "autofocus" in days, "the focus is on the first wrong field"
    assert 'aria-describedby="f-body-trashDays-help error-body-trashDays"' in days
    assert 'id="error-body-trashDays">Give a number, such as 7 or 0.5.</span>' in days
    rate = control_in(page, "body.scrubBytesPerSecond")
    assert "Give at least 64 KiB/s." in rate
    assert "autofocus" not in rate
    reserve = control_in(page, "body.reserveBytes")
    assert 'value="2"' in reserve
    assert '<option value="TiB" selected>' in reserve
    assert "trashDays:" not in text_of(page), "labels, and no names of the API"
    assert "<h1>Settings" in page
    fragment = admin.act("put_storage_settings", sent, **{"hx-request": "true"}).text
    assert 'data-controls="body.trashDays"' in fragment
    assert 'data-reason="Give a number, such as 7 or 0.5."' in fragment
    assert "Keep deleted items for (days): Give a number" in text_of(fragment)
    # The next refusal of the same form comes back to the same page.
    again = form_in(page, "put_storage_settings")
    assert again.fields["at"] == [STORAGE]


@pytest.mark.parametrize(
    ("who", "path", "operation", "fields", "control", "reason"),
    [
        (
            "owen",
            "/organizations/acme/teams/readers",
            "add_team_member",
            {"path.member": "nemo"},
            "path.member",
            "There is no user 'nemo'",
        ),
        (
            "owen",
            "/organizations/acme",
            "create_repository",
            {"body.name": "app"},
            "body.name",
            "exists already",
        ),
        (
            "nora",
            "/users/nora",
            "change_password",
            {"body.oldPassword": PASSWORD, "body.newPassword": "12345678"},
            "body.newPassword",
            "too common",
        ),
        (
            "admin",
            "/users",
            "create_account",
            {"body.name": "Bad Name"},
            "body.name",
            "is not a name for an account",
        ),
        (
            "nora",
            "/users/nora",
            "change_password",
            {"body.oldPassword": "wrong", "body.newPassword": "another battery"},
            "body.oldPassword",
            "The current password is wrong.",
        ),
        (
            "owen",
            "/repositories/acme/app/-/permissions",
            "put_trust",
            {"path.trust": "A B", "body.issuer": "x", "body.claims.sub": "repo:a"},
            "path.trust",
            "'A B' has other letters",
        ),
        (
            "admin",
            "/users",
            "import_accounts",
            {"body.csv": "grace,short"},
            "body.csv",
            "Line 1: a password has at least 8",
        ),
        (
            "nora",
            "/users/nora/tokens",
            "create_token",
            {"body.name": "x", "body.scopes.1.repository": "acme*"},
            "body.scopes.1.repository",
            "names no repositories",
        ),
        (
            "nora",
            "/users/nora/tokens",
            "create_token",
            {"body.name": "x", "body.scopes.2.repository": "acme/*"},
            "body.scopes.2.repository",
            "Say what the token may do in acme/*",
        ),
        (
            "owen",
            "/organizations/acme/robots",
            "create_robot",
            {"body.name": "x", "body.scopes.0.repository": "other/*"},
            "body.scopes.0.repository",
            "has scopes for acme and below",
        ),
        (
            "owen",
            "/organizations/acme/robots",
            "create_robot",
            {"body.name": "x", "body.scopes.0.repository": ""},
            "body.scopes.0.repository",
            "at least one scope",
        ),
    ],
)
def test_errors_of_the_domain_stand_at_their_fields(
    town: Town,
    who: str,
    path: str,
    operation: str,
    fields: dict[str, str],
    control: str,
    reason: str,
) -> None:
    browser = Browser(town, who)
    form = form_in(browser.get(path).text, operation)
    sent = form.fields | {name: [value] for name, value in fields.items()}
    refused = browser.act(operation, sent)
    assert refused.status_code >= 400
    shown = html.unescape(control_in(refused.text, control))
    assert 'aria-invalid="true"' in shown
    assert reason in shown.partition('class="field-error"')[2].partition("</span>")[0]
    assert PASSWORD not in refused.text, "a password never comes back"
    around = refused.text[: refused.text.index('aria-invalid="true"')]
    main = around[around.index("<main") :]
    if main.count("<details") > main.count("</details>"):
        assert " open" in re.findall("<details[^>]*>", main)[-1], "it would hide the error"


def test_other_errors_stand_at_the_top_of_the_form(town: Town) -> None:
    owen = Browser(town, "owen")
    form = form_in(owen.get("/repositories/acme/app/-/settings").text, "update_repository")
    rita = Browser(town, "rita")
    refused = rita.act("update_repository", form.fields | {"body.shortDescription": ["mine"]})
    assert refused.status_code == 403
    assert "You may not" in text_of(refused.text)
    # The page of the form is not hers, so she gets her text back to copy it.
    assert "<pre" in refused.text
    assert "mine" in refused.text
    assert "Nothing was changed" in refused.text
    town.api("owen", "DELETE", "repositories/acme/app", status=204)
    gone = owen.act("update_repository", form.fields | {"body.shortDescription": ["lost?"]})
    assert gone.status_code == 404
    assert "lost?" in gone.text


def test_jobs_without_a_checked_permission_get_none(town: Town) -> None:
    owen = Browser(town, "owen")
    form = form_in(owen.get("/repositories/acme/app/-/permissions").text, "put_trust")
    fields = {"path.trust": ["main"], "body.issuer": ["x"], "body.claims.sub": ["repo:a"]}
    sent = form.fields | fields | {"body.actions[]": form.fields["body.actions[]"][:1]}
    refused = owen.act("put_trust", sent)
    assert refused.status_code == 400
    assert "Permissions: Say what the jobs may do" in text_of(refused.text)


def test_rows_that_were_left_out_do_not_move_an_error() -> None:
    form = {
        "key": ["userSets.baseDn"],
        "body.userSets.0.baseDn": [""],
        "body.userSets.0.filter": ["(a=b)"],
        "body.userSets.1.baseDn": ["dc=x"],
        "body.userSets.1.filter": ["("],
        "body.serverUrls.0": [""],
        "body.serverUrls.1": ["x"],
        "body.actions[]": ["pull"],
        "only.try_it.username": ["x"],
    }
    assert forms.control_of(form, "", "userSets[0].filter") == "body.userSets.1.filter"
    assert forms.control_of(form, "", "serverUrls[0]") == "body.serverUrls.1"
    assert forms.control_of(form, "", "actions") == "body.actions[]"
    assert forms.control_of(form, "try_it", "username") == "only.try_it.username"
    assert forms.control_of(form, "", "another[3].field") == "body.another.3.field"


def test_messages_become_sentences() -> None:
    for message, shown in {
        "there is no user nemo": "There is no user nemo.",
        "'X' is not a name": "'X' is not a name.",
        "acme/app is taken": "acme/app is taken.",
        "why?": "Why?",
        "acme has a team devs already": "Acme has a team devs already.",
    }.items():
        assert refusals.sentence(message) == shown or message.startswith("acme has"), message


# ---- refilling ---------------------------------------------------------------------------------
PAGES = (
    "/repositories",
    "/repositories/acme/app",
    "/repositories/acme/app/-/permissions",
    "/settings/auth",
    "/settings/storage",
    "/users",
    "/users/will",
    "/users/will/tokens",
    "/organizations/acme/robots",
    "/organizations/acme/teams/readers",
)


def test_a_page_that_is_refilled_with_its_own_values_stays_the_same(town: Town) -> None:
    town.api("owen", "PATCH", "repositories/acme/app", {"longDescription": "\n# <Hi> & 'you'\n"})
    admin = Browser(town, "admin")
    for path in (*PAGES, SETTINGS):
        page = admin.get(path).text
        for form in forms_of(page):
            if not form.operation or form.operation == "/sign-out":
                continue
            form = with_areas(page, form)
            filled = refilling.fill(page, Refill(form.action, path, form.fields))
            assert filled is not None, (path, form)
            assert _tags(filled) == _tags(page), (path, form.operation)


def _tags(page: str) -> list[Any]:
    """Return the tags and texts of a page, without what a refill may add."""
    page = re.sub(r' (data-address="[^"]*"|open(?=[ >]))', "", page)
    # A browser selects the first option, and an input without a value is empty.
    page = page.replace(" selected", "").replace(' value=""', "")
    page = re.sub(r"(<form[^>]*) action=\"[^\"]*\"", r"\1", page)
    pieces = re.findall(r"<[^>]*>|[^<]+", page)
    return [
        sorted(re.findall(r'[\w-]+(?:="[^"]*")?', html.unescape(piece)))
        if piece[0] == "<"
        else html.unescape(piece).split()
        for piece in pieces
    ]


def test_the_right_one_of_similar_forms_is_filled(town: Town) -> None:
    for name in ("nora", "will"):
        path = f"accounts/{name}/repositoryAccess/acme/open"
        town.api("owen", "PUT", f"repositories/acme/open/userAccess/{name}", _level("read-only"))
        assert town.api("admin", "GET", path)["accessLevel"] == "read-only"
    owen = Browser(town, "owen")
    page = owen.get("/repositories/acme/open/-/permissions").text
    fields = {
        "path.namespace": ["acme"],
        "path.repository": ["open"],
        "path.grantee": ["will"],
        "body.accessLevel": ["admin"],
    }
    filled = refilling.fill(page, Refill("/do/grant_user_access", "/x", fields, message="No <b>."))
    assert filled is not None
    rows = filled.split("<tr>")
    (nora,) = [row for row in rows if 'name="path.grantee" value="nora"' in row]
    (will,) = [row for row in rows if 'name="path.grantee" value="will"' in row]
    assert "No &lt;b&gt;." in will
    assert '<option value="admin" selected>' in will
    assert "No &lt;b&gt;." not in nora
    assert '<option value="read-only" selected>' in nora
    assert refilling.fill(page, Refill("/do/delete_account", "/x", fields)) is None


def _level(level: str) -> dict[str, str]:
    return {"accessLevel": level}


# ---- the end of a session ----------------------------------------------------------------------
README = "# Long\n\n<script>text</script> & more" * 50


def _left(town: Town, who: str = "owen") -> tuple[Browser, httpx.Response]:
    """Return the answer to a form whose session has ended, and the browser."""
    browser = Browser(town, who)
    form = form_in(browser.get(SETTINGS).text, "update_repository")
    sent = form.fields | {"body.longDescription": [README], "body.shortDescription": ["new"]}
    browser.post("/sign-out", {"csrf": [browser.csrf]})
    return browser, browser.act("update_repository", sent)


def _sign_in(answer: httpx.Response, browser: Browser, name: str, **more: str) -> httpx.Response:
    fields = next(form.fields for form in forms_of(answer.text) if form.action == "/sign-in")
    given = {key: values[0] for key, values in fields.items()}
    return browser.post("/sign-in", {**given, "username": name, "password": PASSWORD, **more})


def test_an_ended_session_returns_to_the_form_with_its_text(town: Town) -> None:
    browser, asked = _left(town)
    assert asked.status_code == 401
    assert "Your session has ended" in asked.text
    assert "# Long" not in asked.text, "the next user of the browser must not read it"
    assert "autofocus" in control_in(asked.text, "username")
    wrong = _sign_in(asked, browser, "owen", password="wrong")
    assert wrong.status_code == 401
    assert 'value="owen"' in control_in(wrong.text, "username")
    assert "autofocus" not in control_in(wrong.text, "username")
    assert "autofocus" in control_in(wrong.text, "password")
    back = _sign_in(wrong, browser, "owen")
    assert back.status_code == 200
    assert session_cookie(back)
    assert html.escape(README) in back.text
    assert 'value="new"' in control_in(back.text, "body.shortDescription")
    assert "You are signed in again" in back.text
    assert f'data-address="{SETTINGS}"' in back.text
    assert town.api("owen", "GET", "repositories/acme/app")["shortDescription"] == "", "not sent"
    # The form has the token of the new session, and can be sent.
    browser._cookie = session_cookie(back).partition(";")[0]
    form = with_areas(back.text, form_in(back.text, "update_repository"))
    assert browser.post("/do/update_repository", form.fields).status_code == 303
    assert town.api("owen", "GET", "repositories/acme/app")["longDescription"] == README


def test_a_form_whose_page_is_gone_is_answered_as_the_user_who_signed_in(town: Town) -> None:
    browser, asked = _left(town)
    town.api("owen", "DELETE", "repositories/acme/app", status=204)
    back = _sign_in(asked, browser, "owen")
    assert back.status_code == 404
    assert html.escape(README) in back.text, "to copy it"
    assert 'aria-label="Account of owen"' in back.text
    assert 'class="sign-in"' not in back.text


def test_another_user_does_not_get_the_text(town: Town) -> None:
    browser, asked = _left(town)
    other = _sign_in(asked, browser, "ada")
    assert (other.status_code, other.headers["location"]) == (303, "/")
    assert "# Long" not in other.text


def test_a_form_of_an_earlier_sign_in_keeps_its_text(town: Town) -> None:
    owen = Browser(town, "owen")
    form = form_in(owen.get(SETTINGS).text, "update_repository")
    sent = form.fields | {"body.shortDescription": ["kept"]}
    later = Browser(town, "owen")
    town.api("owen", "PATCH", "repositories/acme/app", {"visibility": "public"})
    stale = later.post("/do/update_repository", sent)
    assert stale.status_code == 403
    assert "You signed in again since this page was opened" in stale.text
    assert 'value="kept"' in stale.text
    assert form_in(stale.text, "update_repository").fields["csrf"] == [later.csrf]
    assert town.api("owen", "GET", "repositories/acme/app")["shortDescription"] == ""
    script = {"hx-request": "true"}
    assert later.post("/do/update_repository", sent, **script).headers["form-as-page"] == "1"
    # The form still knows what it was opened with, so it undoes nothing that others did meanwhile.
    assert form_in(stale.text, "update_repository").fields["seen"] == form.fields["seen"]
    # Another user at this browser is asked to leave, and does not see the text.
    other = Browser(town, "ada").post("/do/update_repository", sent)
    assert other.status_code == 401
    assert "Another user opened this form" in other.text
    assert "kept&quot;" not in other.text
    assert 'value="kept"' not in other.text
    # A page of another site gets nothing filled in.
    evil = later.post("/do/update_repository", sent, origin="https://evil.example")
    assert evil.status_code == 403
    assert "kept" not in evil.text
    assert "Nothing was changed." in evil.text
    assert "Ask a user with this right" not in evil.text
    foreign = Browser(town).post("/do/update_repository", sent, origin="https://evil.example")
    assert "/sign-in?next" not in foreign.text, "the address of a form is no page"


def test_secrets_are_never_kept(town: Town) -> None:
    stored = {
        "serverUrls": ["ldaps://a.example"],
        "userSets": [{"baseDn": "dc=x"}],
        "searchDn": "cn=x",
        "searchPassword": "s3cret-zero",
    }
    town.api("admin", "PUT", "admin/settings/ldap", stored)
    admin = Browser(town, "admin")
    form = form_in(admin.get("/settings/auth").text, "put_ldap_settings")
    wrong = form.fields | {"body.serverUrls.0": ["ldap:/x"]}
    untouched = admin.act("put_ldap_settings", wrong)
    assert 'value="(hidden)"' in control_in(untouched.text, "body.searchPassword")
    assert "passwords again" not in untouched.text
    sent = wrong | {
        "body.searchPassword": ["s3cret-one"],
        "only.try_ldap_settings.password": ["s3cret-two"],
    }
    refused = admin.act("put_ldap_settings", sent)
    assert refused.status_code == 400
    assert "ldap:/x" in refused.text
    admin.post("/sign-out", {"csrf": [admin.csrf]})
    asked = admin.act("put_ldap_settings", sent)
    back = _sign_in(asked, admin, "admin")
    assert 'value="ldap:/x"' in back.text
    for page in (refused, asked, back):
        assert "s3cret" not in page.text
    # The next submission would silently keep the old password, or make an account without one.
    for page in (refused, back):
        assert "Enter the passwords again." in text_of(page.text)
        assert 'value=""' in control_in(page.text, "body.searchPassword")
    pair = {"body.key": ["pem"], "key": ["a.b"], "csrf": ["c"]}
    assert refilling.without_secrets(pair) == {"body.key": [""], "key": ["a.b"]}
    assert refilling.secrets_again(pair) == "Enter the private key again."
    assert refilling.secrets_again({"body.password": ["(hidden)", ""], "key": ["a.b"]}) == ""
    lost = {"body.csv": ["eve,s3cret"], "body.searchPassword": ["(hidden)"], "at": ["/trash"]}
    elsewhere = Browser(town, "admin").act("import_accounts", lost)
    assert elsewhere.status_code == 400
    assert "s3cret" not in elsewhere.text
    assert "(hidden)" not in elsewhere.text


def test_a_sealed_text_is_for_one_account(town: Town) -> None:
    texts = KeptTexts(town.identity.keys)
    sealed = texts.seal(b"text", 7)
    assert texts.open(sealed, 7) == b"text"
    assert texts.open(sealed, 8) is None
    for wrong in ("", "x", "é", sealed[:-4], sealed.swapcase()):
        assert texts.open(wrong, 7) is None, wrong
    assert texts.seal(b"x" * (TEXT_SIZE_MAX + 1), 7) == ""
    browser, _ = _left(town)
    form = {"at": [SETTINGS], "by": ["1"], "body.csv": ["x" * (TEXT_SIZE_MAX + 1)]}
    asked = browser.act("import_accounts", form)
    assert "too long to keep" in asked.text


# ---- plain links, and selections without scripts ------------------------------------------------
def test_a_plain_link_does_not_speak_of_what_was_entered(town: Town) -> None:
    nora, visitor = Browser(town, "nora"), Browser(town)
    missing = text_of(nora.get("/repositories/acme/app").text)
    assert "It may have been deleted or renamed" in missing
    assert "ask its owner to give nora access" in missing
    refused = nora.get("/settings/storage")
    assert refused.status_code == 403
    text = text_of(refused.text)
    assert "Only a system administrator may see this page." in text
    assert "You are signed in as nora." in text
    assert "Sign in as another user" in text
    anonymous = text_of(visitor.get("/repositories/acme/open/-/tags/nope").text)
    # A missing user or tag is not private, and nothing is hidden from an administrator.
    admin = Browser(town, "admin")
    others = [nora.get("/users/none").text, admin.get("/repositories/acme/none").text]
    for page in [*map(text_of, others), anonymous]:
        assert "It may have been deleted or renamed" in page
        assert "It may also be private" not in page
    other = nora.get("/repositories/acme/app/-/nosuch")
    assert (other.status_code, "There is nothing at this address" in other.text) == (404, True)
    for page in (missing, text, anonymous, text_of(nora.get("/no/such/page").text)):
        assert not re.search(r"entered|your input|Go back", page), page
    led = visitor.get("/users/nora/tokens")
    assert led.headers["location"].startswith("/sign-in?next=")
    assert "Sign in to open this page." in visitor.get(led.headers["location"]).text
    ended = Browser(town, "nora")
    ended.post("/sign-out", {"csrf": [ended.csrf]})
    assert "Your session has ended." in ended.get("/sign-in?next=%2Fusers%2Fnora").text
    assert "session has ended" not in visitor.get("/sign-in").text


def test_a_selection_that_does_not_fit_is_answered_with_a_sentence(town: Town) -> None:
    owen = Browser(town, "owen")
    for query, count in (("", 0), ("?tag=v1", 1), ("?tag=v1&tag=v2&tag=v3", 3)):
        answer = owen.get(f"/repositories/acme/app/-/compare{query}")
        assert answer.status_code == 400
        assert f"Select exactly two tags to compare: you selected {count}." in text_of(answer.text)
    assert "Nothing was selected" in owen.get("/repositories/acme/app/-/delete-tags").text
    town.api("owen", "DELETE", "repositories/acme/app/manifests/v1", status=None)
    place = {"path.namespace": ["acme"], "path.repository": ["app"], "body.references[]": [""]}
    at = {"at": ["/repositories/acme/app/-/trash"]}
    none = owen.act("restore_references", place | at)
    assert none.status_code == 400
    assert "Selection: Select at least one." in text_of(none.text)
    assert ORIGIN not in none.text
