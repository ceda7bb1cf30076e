"""Names, passwords and sessions: right ones, wrong ones, and attackers' tries."""

from __future__ import annotations

import time
from statistics import median

import pytest

from tests.api.managed.town import PASSWORD, Town, basic, session_cookie
from tests.fakes import asgi


def status(town: Town, who: str, password: str = PASSWORD) -> int:
    return town.ask_token(who, password=password).status_code


# ---- names -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["rita", "RITA", " rita "])
def test_a_name_is_typed_in_any_case(town: Town, name: str) -> None:
    assert status(town, name) == 200


@pytest.mark.parametrize(
    "name",
    [
        "r\u0131ta",  # a dotless i
        "\uff52\uff49\uff54\uff41",  # full width
        "rita\u200b",
        "\u212aelvin",
        "rita\0",
        "*",
        "rita)(uid=*",
        "../rita",
        "r" * 5000,
    ],
)
def test_what_looks_like_a_name_is_none(town: Town, name: str) -> None:
    assert status(town, name) == 401


@pytest.mark.parametrize(
    "name",
    [
        "Rita",
        "kélvin",
        "\u212aelvin",
        "a b",
        "a/b",
        "-a",
        "a$b",
        "a+b",
        "oidc",
        "a" * 65,
        "",
        "..",
        "a;b",
    ],
)
def test_names_that_no_account_gets(town: Town, name: str) -> None:
    for kind in ("user", "organization"):
        body = {"name": name, "type": kind}
        assert town.ask("admin", "POST", "accounts", body).status_code == 400


def test_users_and_organizations_share_one_namespace(town: Town) -> None:
    for name in ("rita", "acme"):
        for kind in ("user", "organization"):
            body = {"name": name, "type": kind}
            assert town.ask("admin", "POST", "accounts", body).status_code == 409


# ---- passwords -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "password",
    ["short", "password", "Password1", "12345678", "aaaaaaaaaa", "newuser1", "newusernewuser",
     "resuwen1!", "x" * 257, "with\nline end", "bell\x07bell"],
)  # fmt: skip
def test_weak_passwords_are_refused(town: Town, password: str) -> None:
    body = {"name": "newuser", "password": password}
    refused = town.ask("admin", "POST", "accounts", body)
    assert refused.status_code == 400
    assert f"{password!r}" not in refused.text


def test_one_changes_ones_own_password_with_the_old_one(town: Town) -> None:
    change = {"oldPassword": "wrong", "newPassword": "another battery"}
    assert town.ask("rita", "POST", "accounts/rita/changePassword", change).status_code == 403
    change["oldPassword"] = PASSWORD
    assert town.ask("nora", "POST", "accounts/rita/changePassword", change).status_code == 403
    assert town.ask("rita", "POST", "accounts/rita/changePassword", change).status_code == 200
    assert status(town, "rita") == 401
    assert status(town, "rita", "another battery") == 200


def test_a_reset_password_is_random_and_shown_once(town: Town) -> None:
    password = town.api("admin", "POST", "accounts/rita/resetPassword")["password"]
    assert len(password) == 20
    assert status(town, "rita", password) == 200


def test_an_account_without_a_password_has_none(town: Town) -> None:
    town.api("admin", "POST", "accounts", {"name": "newuser"}, 201)
    for password in ("", "newuser", "x" * 300):
        assert status(town, "newuser", password) == 401
    assert status(town, "acme", "") == 401


def test_wrong_names_and_wrong_passwords_look_alike(town: Town) -> None:
    wrong = town.ask_token("rita", password="wrong")
    stranger = town.ask_token("stranger", password="wrong")
    assert (wrong.status_code, wrong.text) == (stranger.status_code, stranger.text)
    town.api("admin", "PUT", "accounts/rita/deactivate")
    inactive = town.ask_token("rita", password="wrong")
    assert (wrong.status_code, wrong.text) == (inactive.status_code, inactive.text)
    assert status(town, "rita") == 401


@pytest.mark.slow
def test_they_take_the_same_time(town: Town) -> None:
    """Both cost the CPU time of one verification: the medians differ by less than a third."""
    seconds: dict[str, list[float]] = {"rita": [], "stranger": []}
    for number in range(12):
        for name, taken in seconds.items():
            town.clock.advance(3600)  # the failures expire
            before = time.process_time()
            status(town, name, f"wrong {number}")
            taken.append(time.process_time() - before)
    known, unknown = (median(taken) for taken in seconds.values())
    assert 0.75 < known / unknown < 1.33


# ---- tries -----------------------------------------------------------------------------------
def test_each_failure_makes_the_wait_longer(town: Town) -> None:
    for _ in range(5):
        assert status(town, "rita", "wrong") == 401
    assert status(town, "rita", "wrong") == 401
    refused = town.ask_token("rita", password="wrong")
    assert refused.status_code == 429
    waits = []
    for _ in range(4):
        wait = int(town.ask_token("rita", password="wrong").headers["retry-after"])
        waits.append(wait)
        town.clock.advance(wait)
        assert status(town, "rita", "wrong") == 401
    assert waits == sorted(waits)
    assert waits[-1] >= 4 * waits[0]


def test_a_locked_out_user_keeps_what_is_signed_in(town: Town) -> None:
    secret = town.api("rita", "POST", "accounts/rita/tokens", {"name": "ci"}, 201)["token"]
    assert status(town, "rita") == 200
    for _ in range(10):
        status(town, "rita", "wrong")
    assert status(town, "rita", secret) == 200
    assert status(town, "rita") == 200  # verified less than a minute ago
    town.clock.advance(61)
    assert status(town, "rita") in (200, 429)


def test_the_right_password_ends_the_wait_for_that_account(town: Town) -> None:
    for _ in range(5):
        status(town, "rita", "wrong")
    assert status(town, "rita") == 200
    for _ in range(5):
        assert status(town, "rita", "wrong again") == 401


def test_one_address_that_tries_many_names_waits(town: Town) -> None:
    statuses = [status(town, f"user{number}", "wrong") for number in range(30)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


# ---- sessions --------------------------------------------------------------------------------
def sign_in(town: Town, who: str = "rita", **fields: str) -> tuple[str, dict[str, str]]:
    body = {"username": who, "password": PASSWORD, **fields}
    answer = town.ask("", "POST", "sessions", body)
    assert answer.status_code == 201, answer.text
    return session_cookie(answer), answer.json()


def test_a_session_signs_requests(town: Town) -> None:
    cookie, session = sign_in(town)
    headers = {"cookie": cookie.partition(";")[0]}
    assert (
        town.ask("", "GET", "sessions/current", headers=headers).json()["account"]["name"] == "rita"
    )
    refused = town.ask("", "POST", "accounts/rita/tokens", {"name": "x"}, headers=headers)
    assert refused.status_code == 403
    headers["x-csrf-token"] = session["csrfToken"]
    made = town.ask("", "POST", "accounts/rita/tokens", {"name": "x"}, headers=headers)
    assert made.status_code == 201


def test_the_cookie_is_kept_from_scripts_and_other_sites(town: Town) -> None:
    cookie, _ = sign_in(town)
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    body = {"username": "rita", "password": PASSWORD}
    answer = town.ask("", "POST", "sessions", body, headers={"x-forwarded-proto": "https"})
    assert "Secure" in session_cookie(answer)


def test_a_session_of_another_is_not_taken_over(town: Town) -> None:
    """Session fixation: a sign-in gives the browser a new cookie, and ends its old session."""
    old, _ = sign_in(town, "nora")
    planted = {"cookie": old.partition(";")[0]}
    body = {"username": "rita", "password": PASSWORD}
    new = session_cookie(town.ask("", "POST", "sessions", body, headers=planted))
    assert new.partition(";")[0] != planted["cookie"]
    assert town.ask("", "GET", "sessions/current", headers=planted).status_code == 401
    fixed = {"cookie": "dtrfast_session=chosen"}
    assert (
        "chosen" not in town.ask("", "POST", "sessions", body, headers=fixed).headers["set-cookie"]
    )
    assert town.ask("", "GET", "sessions/current", headers=fixed).status_code == 401


@pytest.mark.parametrize("end", ["sign out", "time", "password", "deactivate"])
def test_a_session_ends(town: Town, end: str) -> None:
    cookie, session = sign_in(town)
    headers = {"cookie": cookie.partition(";")[0], "x-csrf-token": session["csrfToken"]}
    if end == "sign out":
        assert town.ask("", "DELETE", "sessions/current", headers=headers).status_code == 204
    elif end == "time":
        town.clock.advance(12 * 3600 + 1)
    elif end == "password":
        town.api("admin", "POST", "accounts/rita/resetPassword")
    else:
        town.api("admin", "PUT", "accounts/rita/deactivate")
    assert town.ask("", "GET", "sessions/current", headers=headers).status_code == 401


def test_other_sites_cannot_send_requests(town: Town) -> None:
    cookie, session = sign_in(town)
    headers = {
        "cookie": cookie.partition(";")[0],
        "x-csrf-token": session["csrfToken"],
        "origin": "https://evil.example",
    }
    body = {"name": "x"}
    assert town.ask("", "POST", "accounts/rita/tokens", body, headers=headers).status_code == 403
    headers["origin"] = "http://registry"
    assert town.ask("", "POST", "accounts/rita/tokens", body, headers=headers).status_code == 201


@pytest.mark.parametrize(
    ("target", "status"), [("http://registry", 201), ("http://elsewhere", 403), ("//", 201)]
)
def test_the_host_of_an_absolute_request_line_is_where_pages_come_from(
    town: Town, target: str, status: int
) -> None:
    """It counts instead of Host (RFC 9112, section 3.2.2)."""
    cookie, session = sign_in(town)
    headers = {
        "host": "registry" if target == "//" else "ignored",
        "cookie": cookie.partition(";")[0],
        "x-csrf-token": session["csrfToken"],
        "origin": "http://registry",
        "content-type": "application/json",
    }
    path = f"{target}/api/v0/accounts/rita/tokens"
    sent = asgi.body(b'{"name": "x"}')
    exchange = town.client.run(asgi.ask(town.client.app, "POST", path, sent, headers=headers))
    assert exchange.status == status


def test_another_sessions_csrf_token_does_not_count(town: Town) -> None:
    cookie, _ = sign_in(town)
    _, other = sign_in(town, "nora")
    headers = {"cookie": cookie.partition(";")[0], "x-csrf-token": other["csrfToken"]}
    body = {"name": "x"}
    assert town.ask("", "POST", "accounts/rita/tokens", body, headers=headers).status_code == 403


def test_a_form_of_another_site_is_not_taken(town: Town) -> None:
    """A form can send requests of other types than JSON without a preflight."""
    headers = {**basic("rita"), "content-type": "text/plain"}
    url = "/api/v0/accounts/rita/tokens"
    assert town.client.post(url, headers=headers, content=b'{"name":"x"}').status_code == 400


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        ("/repositories?page=2#x", "/repositories?page=2#x"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/\n/evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
        (" /x", "/"),
    ],
)
def test_after_the_sign_in_one_stays_here(town: Town, wanted: str, place: str) -> None:
    _, session = sign_in(town, next=wanted)
    assert session["next"] == place


# ---- what is written down --------------------------------------------------------------------
def test_sign_ins_are_events_without_secrets(town: Town) -> None:
    sign_in(town)
    status(town, "rita")
    status(town, "rita", "wrong password")
    signed = town.events.of("sign-in")[-3:]
    assert [(e.actor, e.outcome) for e in signed] == [("rita", o) for o in ("ok", "ok", "refused")]
    assert signed[2].detail["reason"] == "the name or the password is wrong"
    assert PASSWORD not in str(town.events.all)
    assert "wrong password" not in str(town.events.all)
