"""Texts that callers send and other users see: from the API, a form, a file, or an old record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import pytest

from dtrfast import markdown
from dtrfast.api.v0 import validation
from dtrfast.api.v0.execution import decode_body
from dtrfast.cli import output
from dtrfast.cli.options import HERE
from dtrfast.console.page import BY_ID
from dtrfast.errors import SettingsInvalid
from dtrfast.identity import accounts
from dtrfast.index.tables import READMES, number_key
from dtrfast.oci import characters
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.records import RepositoryChange
from dtrfast.registry.writing import Author
from tests.api.managed.town import Town, in_memory
from tests.console.browser import Browser

TURNED = "bill\u202egnp.exe"
APP = RepositoryName("acme/app")


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with in_memory() as town:
        yield town


ISSUER = {"name": "ci", "url": "https://ci.example", "audience": "registry"}
LDAP = {"serverUrls": ["ldaps://x.example"], "userSets": [{"baseDn": "dc=example"}]}
# An operation, a body, and the paths of the fields in it that hold a text of the caller.
BODIES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("create_account", {"name": "x", "fullName": "x"}, ["name", "fullName"]),
    ("update_account", {"fullName": "x"}, ["fullName"]),
    ("create_team", {"name": "x", "description": "x"}, ["name", "description"]),
    ("update_team", {"name": "x", "ldapDN": "x"}, ["name", "ldapDN"]),
    ("create_repository", {"name": "x", "shortDescription": "x"}, ["name", "shortDescription"]),
    ("update_repository", {"shortDescription": "x"}, ["shortDescription"]),
    ("create_token", {"name": "x"}, ["name"]),
    ("create_robot", {"name": "x", "scopes": [{"repository": "x", "actions": []}]}, ["name"]),
    ("put_trust", {"issuer": "x", "claims": {"sub": "x"}}, ["issuer", "claims.sub"]),
    ("put_oidc_settings", {"issuers": [ISSUER]}, ["issuers.0.name", "issuers.0.audience"]),
    ("put_ldap_settings", LDAP, ["serverUrls.0", "userSets.0.baseDn"]),
]


def _with(body: Any, place: str, text: str) -> Any:
    """Return the body with a text in the field at `place`."""
    name, _, rest = place.partition(".")
    key: Any = int(name) if isinstance(body, list) else name
    changed = list(body) if isinstance(body, list) else dict(body)
    changed[key] = _with(body[key], rest, text) if rest else text
    return changed


def test_a_misleading_text_is_refused_with_its_field() -> None:
    for operation, body, places in BODIES:
        decode = partial(decode_body, BY_ID[operation])
        for place in places:
            assert decode(msgspec.json.encode(_with(body, place, "Zoë 👩\u200d💻"))), place
            for one in "\x07\x7f\n\x9b\u202e\u2067\u200e\u200b\ufeff\u2028\U000e0041":
                with pytest.raises(SettingsInvalid) as refused:
                    decode(msgspec.json.encode(_with(body, place, f"a{one}b")))
                wanted = f"{place.replace('.0', '[0]')}: remove U+{ord(one):04X} "
                assert refused.value.message.startswith(wanted), operation


def test_what_a_caller_chooses_as_a_key_is_checked() -> None:
    with pytest.raises(SettingsInvalid, match=r"^claims: remove"):
        decode_body(BY_ID["put_trust"], b'{"issuer": "x", "claims": {"su\xe2\x80\x8bb": "x"}}')


@pytest.mark.parametrize("name", sorted(validation._ANY | validation._LINES))
def test_a_key_with_the_name_of_another_field_excepts_nothing(name: str) -> None:
    for value in ("a\u202eb", "a\nb"):
        body = {"issuer": "x", "claims": {name: value}}
        with pytest.raises(SettingsInvalid):
            decode_body(BY_ID["put_trust"], msgspec.json.encode(body))


def test_a_secret_may_hold_anything(town: Town) -> None:
    body = {"name": "zoe", "password": "correct\u202e horse battery"}
    assert town.api("admin", "POST", "accounts", body, 201)["name"] == "zoe"


def test_api_console_and_import_refuse_alike(town: Town) -> None:
    answer = town.ask("admin", "POST", "accounts", {"name": "eve", "fullName": TURNED})
    assert answer.status_code == 400
    message = answer.json()["errors"][0]["message"]
    assert message.startswith("fullName: remove U+202E RIGHT-TO-LEFT OVERRIDE")
    answer = Browser(town, "admin").act(
        "create_account", {"body.name": ["eve"], "body.fullName": [TURNED]}
    )
    assert answer.status_code == 400
    answer = town.ask("admin", "POST", "admin/importAccounts", {"csv": f"eve,,{TURNED},no"})
    assert answer.status_code == 400
    assert "the full name of eve: remove U+202E" in answer.json()["errors"][0]["message"]
    assert town.ask("admin", "GET", "accounts/eve").status_code == 404


def test_a_readme_loses_what_misleads(town: Town) -> None:
    body = {"longDescription": "# One\n\ttwo \x1b[31m\u202ethree\u2069\r\n"}
    made = town.api("owen", "PATCH", "repositories/acme/app", body)
    assert made["longDescription"] == "# One\n\ttwo [31mthree\r\n"


def test_a_reference_to_a_character_is_no_way_around() -> None:
    html = markdown.to_html(
        "a&#x202e;b&#8203;c&lrm;d `e&#x1b;f` [g](https://h.example 'i&#8238;j')"
    )
    assert not characters.find(html, is_line=False)
    assert "a\ufffdb\ufffdc\ufffdd" in html


def test_texts_that_were_kept_before_are_marked(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are marked in answers, on pages, and in a terminal."""
    author = Author("system", town.clock())

    def keep(transaction: Any) -> None:
        rita = accounts.get(transaction, "rita")
        accounts.put(transaction, author, rita, msgspec.structs.replace(rita, full_name=TURNED))
        change = RepositoryChange(description="\x9b31m red")
        repositories.update(transaction, APP, author, change)
        number = repositories.get(transaction, APP)
        transaction.put(READMES, number_key(number), "two\nlines \u202e\x1b".encode())

    town.engine.write(keep)
    rita = town.api("admin", "GET", "accounts/rita")
    app = town.api("owen", "GET", "repositories/acme/app")
    assert rita["fullName"] == TURNED.replace("\u202e", "\ufffd")
    assert app["shortDescription"] == "\ufffd31m red"
    assert app["longDescription"] == "two\nlines \ufffd\ufffd"
    for page in ("/users", "/repositories/acme/app"):
        assert not characters.find(Browser(town, "admin").get(page).text, is_line=False)
    row = {"name": TURNED, "of": {"\x1b[2J": "\x9b"}, "lines": "one\rtwo"}
    output.show(HERE, [row], ["name", "of", "lines"])
    output.show_one(HERE, row)
    output.say(TURNED)
    output.show_json(row)
    shown = capsys.readouterr().out
    assert not characters.find(shown, is_line=False)
    assert "\r" not in shown
    assert json.loads(shown[shown.index("{\n") :]) == row


def test_every_text_of_a_body_is_one_line_but_for_those_that_are_named() -> None:
    """A new field is checked without being listed."""

    class Later(msgspec.Struct):
        label: str = ""
        names: list[str] = []
        password: str = ""

    assert validation.check_texts(Later(password="\u202e"))
    for body in (Later("\n"), Later(names=["a", "\u202e"])):
        with pytest.raises(SettingsInvalid):
            validation.check_texts(body)
