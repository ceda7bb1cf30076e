"""Accounts behind a proxy: clients are told apart, and pages are recognized by their host."""

from __future__ import annotations

import httpx
import pytest

from tests.api.managed.town import PASSWORD, Town, basic

ATTACKER = {"x-forwarded-for": "198.51.100.7"}
CLIENT = {"x-forwarded-for": "192.0.2.99, 127.0.0.1"}


def sign_in(town: Town, headers: dict[str, str], password: str = PASSWORD) -> httpx.Response:
    body = {"username": "rita", "password": password}
    return town.ask("", "POST", "sessions", body, headers=headers)


@pytest.mark.long
def test_wrong_passwords_of_one_client_keep_no_other_one_out(town: Town) -> None:
    for number in range(45):
        headers = {**basic(f"stranger{number}"), **ATTACKER}
        town.client.get("/auth/token", headers=headers)
    kept_out = town.client.get("/auth/token", headers={**basic("stranger"), **ATTACKER})
    assert kept_out.status_code == 429
    assert sign_in(town, CLIENT).status_code == 201
    token = town.client.get("/auth/token", headers={**basic("rita"), **CLIENT})
    assert token.status_code == 200


def test_audit_events_and_sessions_have_the_clients_address(town: Town) -> None:
    assert sign_in(town, CLIENT).status_code == 201
    assert sign_in(town, ATTACKER, "wrong").status_code == 401
    assert [event.remote for event in town.events.of("sign-in")][-2:] == [
        "192.0.2.99",
        "198.51.100.7",
    ]
    sessions = town.api("admin", "GET", "accounts/rita/sessions")
    assert "192.0.2.99" in str(sessions)


def test_a_cookie_is_secure_where_the_first_proxy_speaks_https(town: Town) -> None:
    for scheme, is_secure in (("HTTPS, http", True), ("http, https", False)):
        answer = sign_in(town, {"x-forwarded-proto": scheme})
        assert ("Secure" in answer.headers["set-cookie"]) is is_secure


@pytest.mark.parametrize(
    ("headers", "is_taken"),
    [
        ({"host": "registry.example", "origin": "https://registry.example"}, True),
        ({"host": "Registry.Example:443", "origin": "https://registry.example"}, True),
        ({"host": "registry.example:80", "origin": "http://registry.example"}, True),
        ({"host": "in:5000", "x-forwarded-host": "out:8443", "origin": "https://out:8443"}, True),
        ({"host": "in", "x-forwarded-port": "8443", "origin": "https://in:8443"}, True),
        ({"host": "registry.example", "origin": "https://evil.example"}, False),
        ({"host": "registry.example:80", "origin": "https://registry.example"}, False),
        ({"host": "registry.example:8443", "origin": "https://registry.example"}, False),
        ({"host": "in:5000", "x-forwarded-host": "out", "origin": "http://in:5000"}, False),
        ({"host": "registry.example", "origin": "null"}, False),
    ],
)
def test_pages_are_those_of_the_host_that_browsers_see(
    town: Town, headers: dict[str, str], is_taken: bool
) -> None:
    assert sign_in(town, headers).status_code == (201 if is_taken else 403)
