"""Stored secrets stay where they are: `(hidden)` stands for one only at its old address."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import pytest

from dtrfast.errors import SettingsInvalid
from dtrfast.identity import settings
from dtrfast.identity.ldap.settings import LdapSettings, UserSet
from tests.api.managed.town import Town
from tests.console.browser import Browser

PASSWORD = "S3cret-Bind-Pw"
LDAP: dict[str, Any] = {
    "serverUrls": ["ldaps://one.example.invalid", "ldaps://two.example.invalid"],
    "searchDn": "cn=reader",
    "searchPassword": PASSWORD,
    "userSets": [{"baseDn": "dc=example"}],
    "caPem": "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n",
    "startTls": True,
}
ELSEWHERE: dict[str, dict[str, Any]] = {
    "another server": {"serverUrls": ["ldaps://evil.example.invalid"]},
    "one server more": {"serverUrls": [*LDAP["serverUrls"], "ldaps://evil.example.invalid"]},
    "without encryption": {"serverUrls": ["ldap://one.example.invalid"]},
    "another port": {"serverUrls": ["ldaps://one.example.invalid:1636"]},
    "a name before the host": {"serverUrls": ["ldaps://one.example.invalid@evil.example.invalid"]},
    "without StartTLS": {"startTls": False},
    "another authority": {"caPem": "-----BEGIN CERTIFICATE-----\nEVIL\n-----END CERTIFICATE-----"},
    "the system's authorities": {"caPem": ""},
    "another account": {"searchDn": "cn=evil"},
    "no account": {"searchDn": ""},
}
SAME: dict[str, dict[str, Any]] = {
    "as it was": {},
    "fewer servers": {"serverUrls": ["ldaps://two.example.invalid"]},
    "another order": {"serverUrls": list(reversed(LDAP["serverUrls"]))},
    "other users": {"userSets": [{"baseDn": "ou=people", "filter": "(uid=*)"}]},
    "lines as browsers end them": {"caPem": LDAP["caPem"].replace("\n", "\r\n")},
    "other times": {"timeoutSeconds": 1, "outageSeconds": 5.0},
}


@pytest.fixture
def town(town: Town) -> Town:
    town.api("admin", "PUT", "admin/settings/ldap", LDAP)
    return town


def _stored(town: Town) -> LdapSettings:
    with town.engine.read() as transaction:
        found = settings.get(transaction, LdapSettings)
    assert found is not None
    return found


@contextmanager
def listening() -> Iterator[tuple[str, list[bytes]]]:
    """Run a server that records all data it receives."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def loop() -> None:
            with suppress(OSError):
                while True:
                    with server.accept()[0] as connection:
                        connection.settimeout(1)
                        heard.append(connection.recv(4096))

        thread = threading.Thread(target=loop)
        thread.start()
        yield f"ldap://127.0.0.1:{server.getsockname()[1]}", heard
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_the_password_is_kept_for_the_same_servers(town: Town) -> None:
    wrong = []
    for name, changes in SAME.items():
        shown = town.api("admin", "GET", "admin/settings/ldap")
        assert shown["searchPassword"] == "(hidden)"
        town.api("admin", "PUT", "admin/settings/ldap", {**LDAP, **shown, **changes})
        if _stored(town).search_password != PASSWORD:
            wrong.append(name)
        town.api("admin", "PUT", "admin/settings/ldap", LDAP)
    assert wrong == []


@pytest.mark.parametrize("path", ["admin/settings/ldap", "admin/settings/ldap/test"])
def test_the_password_is_not_kept_for_others(town: Town, path: str) -> None:
    before = _stored(town)
    shown = town.api("admin", "GET", "admin/settings/ldap")
    method = "POST" if path.endswith("test") else "PUT"
    wrong = []
    for name, changes in ELSEWHERE.items():
        answer = town.ask("admin", method, path, {**shown, **changes})
        message = answer.json()["errors"][0]["message"] if answer.status_code == 400 else ""
        if not message.startswith("searchPassword: enter it again") or _stored(town) != before:
            wrong.append((name, answer.status_code, message))
    assert wrong == []


def test_no_byte_of_it_reaches_another_server(town: Town) -> None:
    with listening() as (url, heard):
        shown = {**town.api("admin", "GET", "admin/settings/ldap"), "startTls": False}
        shown |= {"serverUrls": [url], "timeoutSeconds": 1}
        tried = {**shown, "username": "x", "password": "y"}
        assert town.ask("admin", "POST", "admin/settings/ldap/test", tried).status_code == 400
        assert town.ask("admin", "PUT", "admin/settings/ldap", shown).status_code == 400
        # A password from the request may go to any server.
        town.api("admin", "PUT", "admin/settings/ldap", {**shown, "searchPassword": "own"})
        town.ask("admin", "POST", "admin/ldap/sync", {"dryRun": True})
        assert any(b"own" in data for data in heard)
        # Afterwards the first password is gone, and `(hidden)` cannot bring it back.
        back = town.ask(
            "admin", "PUT", "admin/settings/ldap", {**LDAP, "searchPassword": "(hidden)"}
        )
        assert back.status_code == 400
    assert not any(PASSWORD.encode() in data for data in heard)


def test_there_is_nothing_to_keep_once_the_settings_are_gone(town: Town) -> None:
    town.api("admin", "DELETE", "admin/settings/ldap", status=204)
    answer = town.ask("admin", "PUT", "admin/settings/ldap", {**LDAP, "searchPassword": "(hidden)"})
    assert answer.status_code == 400
    assert "none is stored: enter it" in answer.json()["errors"][0]["message"]


def test_the_form_asks_for_the_password_again(town: Town) -> None:
    admin = Browser(town, "admin")
    assert '"(hidden)"' in admin.get("/settings/auth").text
    form = {
        "body.serverUrls.0": ["ldaps://evil.example.invalid"],
        "body.searchDn": ["cn=reader"],
        "body.searchPassword": ["(hidden)"],
        "body.userSets.0.baseDn": ["dc=example"],
        "review": ["1"],
    }
    shown = admin.act("put_ldap_settings", form)
    assert shown.status_code == 400
    assert "Enter it again" in shown.text


def test_every_secret_of_every_document_is_hidden_and_bound() -> None:
    """A field with a name like those of secrets must be in the table."""
    for kind in settings._NAMES:
        names = {one.field for one in settings._SECRETS.get(kind, ())}
        for field in msgspec.structs.fields(kind):
            if any(word in field.name for word in ("password", "secret", "private", "token_value")):
                assert field.name in names, f"{kind.__name__}.{field.name} is shown"


def test_an_empty_secret_is_shown_as_none() -> None:
    document = LdapSettings(server_urls=("ldap://x",), user_sets=(UserSet(base_dn="dc=x"),))
    assert settings.hidden(document) == document
    assert settings.revealed(document, None) == document
    with pytest.raises(SettingsInvalid, match="none is stored"):
        settings.revealed(msgspec.structs.replace(document, search_password="(hidden)"), document)
