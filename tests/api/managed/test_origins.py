"""Failed sign-ins of other clients, and the cookies of browsers: which clients are held off."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from dtrfast.errors import TooManyTries
from dtrfast.identity import sessions
from dtrfast.identity.tries import ACCOUNT, ADDRESS, KNOWN, TryOrigin
from tests.api.managed.town import PASSWORD, Town, basic, in_memory, session_cookie

HERE = "127.0.0.1"  # the address of a town's client
TLS = {"x-forwarded-proto": "https"}


@pytest.fixture(scope="module")
def kept_town() -> Iterator[Town]:
    with in_memory() as town:
        yield town


@pytest.fixture
def town(kept_town: Town) -> Town:
    """A town without recent failures or sign-ins."""
    kept_town.clock.advance(100 * 86_400)
    return kept_town


def status(town: Town, who: str, password: str = PASSWORD) -> int:
    return town.ask_token(who, password=password).status_code


def fail(town: Town, who: str, remote: str, times: int, *, is_known: bool = False) -> None:
    """Fail to sign in `times` times, or until a try is refused, without checking passwords."""
    tries = town.identity.sign_in._gate.tries
    for _ in range(times):
        try:
            entered = tries.enter(who, TryOrigin(remote, is_known=is_known))
        except TooManyTries:
            return
        assert entered is not None
        entered.fail()


def sign_in(town: Town, cookie: str = "", who: str = "rita", **headers: str) -> httpx.Response:
    body = {"username": who, "password": PASSWORD}
    return town.ask("", "POST", "sessions", body, headers={"cookie": cookie, **headers})


def cookies_of(answer: httpx.Response) -> str:
    """Return the cookies that a browser keeps from an answer, in the form of a request header."""
    sent = [one for one in answer.headers.get_list("set-cookie") if "Max-Age=0" not in one]
    return "; ".join(one.partition(";")[0] for one in sent)


def proof_of(answer: httpx.Response) -> str:
    return next(c for c in cookies_of(answer).split("; ") if "dtrfast_known_" in c)


# ---- addresses -----------------------------------------------------------------------------------
def test_an_account_that_signed_in_from_a_shared_address_is_not_held_by_others(town: Town) -> None:
    assert status(town, "rita") == 200
    town.clock.advance(61)
    for number in range(ADDRESS.free + 5):
        fail(town, f"user{number}", HERE, 1)
    for number in range(ACCOUNT.free + 5):
        fail(town, "rita", f"10.0.1.{number}", 1)
    guard = town.identity.guard
    assert status(town, "will") == 429
    assert guard.held_off_seconds(basic("will")["authorization"], HERE) > 0
    assert guard.held_off_seconds(basic("rita")["authorization"], HERE) == 0
    assert status(town, "rita") == 200
    town.clock.advance(61)
    assert sign_in(town).status_code == 201


def test_a_refresh_token_keeps_an_address_known(town: Town) -> None:
    """A client of `docker login` sends its password once in 90 days."""
    form = {"grant_type": "password", "username": "rita", "password": PASSWORD}
    answer = town.client.post("/auth/token", data={**form, "access_type": "offline"})
    refresh = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
    for _ in range(3):
        town.clock.advance(20 * 86_400)
        assert town.client.post("/auth/token", data=refresh).status_code == 200
    for number in range(ADDRESS.free + 5):
        fail(town, f"user{number}", HERE, 1)
    assert status(town, "rita") == 200


def test_guesses_from_a_known_address_are_bounded(town: Town) -> None:
    assert status(town, "rita") == 200
    statuses = [status(town, "rita", f"wrong {number}") for number in range(20)]
    assert statuses.count(401) == KNOWN.free + 1
    refused = town.ask_token("rita", password="wrong")
    assert 0 < int(refused.headers["retry-after"]) <= KNOWN.seconds_max
    header = basic("rita", "wrong")["authorization"]
    for number in range(ADDRESS.free + 5):
        fail(town, f"user{number}", HERE, 1)
    assert 0 < town.identity.guard.held_off_seconds(header, HERE) <= KNOWN.seconds_max


# ---- browsers ------------------------------------------------------------------------------------
def test_a_browser_gets_in_while_another_client_guesses_at_its_address(town: Town) -> None:
    proof = proof_of(sign_in(town))
    town.clock.advance(61)
    fail(town, "rita", HERE, 20, is_known=True)
    assert sign_in(town).status_code == 429
    again = sign_in(town, proof)
    assert again.status_code == 201
    assert sign_in(town, proof_of(again)).status_code == 201


def test_a_proof_is_of_one_account_and_ends_with_its_password(town: Town) -> None:
    proof = proof_of(sign_in(town, who="ada"))
    town.clock.advance(61)
    for who in ("ada", "will"):
        fail(town, who, HERE, 20, is_known=True)
    name, _, value = proof.partition("=")
    account_id = name.rpartition("_")[2]
    others = int(account_id) + 1
    assert sign_in(town, f"dtrfast_known_{others}={value}", "will").status_code == 429
    assert sign_in(town, f"{name}={value[:-2]}AA", "ada").status_code == 429
    town.api("admin", "POST", "accounts/ada/resetPassword")
    assert sign_in(town, proof, "ada").status_code == 429


def test_a_stolen_proof_gives_a_few_tries_and_no_sign_in(town: Town) -> None:
    proof = proof_of(sign_in(town))
    value = proof.partition("=")[2]
    refresh = {"grant_type": "refresh_token", "refresh_token": value}
    assert town.client.post("/auth/token", data=refresh).status_code == 401
    for header in (f"Bearer {value}", basic("rita", value)["authorization"]):
        answer = town.client.get("/v2/acme/app/tags/list", headers={"authorization": header})
        assert answer.status_code == 401
    body = {"username": "rita", "password": "wrong"}
    ask = [town.ask("", "POST", "sessions", body, headers={"cookie": proof}) for _ in range(10)]
    assert sum(answer.status_code == 401 for answer in ask) <= KNOWN.free + 1


def test_one_browser_has_proofs_of_several_accounts(town: Town) -> None:
    both = [proof_of(sign_in(town, who=who)) for who in ("rita", "will")]
    town.clock.advance(61)
    for who in ("rita", "will"):
        fail(town, who, HERE, 20, is_known=True)
    for who in ("rita", "will"):
        assert sign_in(town, "; ".join(both), who).status_code == 201


# ---- cookies -------------------------------------------------------------------------------------
def current(town: Town, cookie: str, **headers: str) -> int:
    answer = town.ask("", "GET", "sessions/current", headers={"cookie": cookie, **headers})
    return answer.status_code


def test_cookies_over_tls_are_of_this_host_alone(town: Town) -> None:
    answer = sign_in(town, **TLS)
    for cookie in answer.headers.get_list("set-cookie"):
        if "Max-Age=0" not in cookie:
            assert cookie.startswith("__Host-")
            assert {"Secure", "Path=/", "HttpOnly"} <= set(cookie.split("; "))
            assert "Domain" not in cookie
    assert current(town, cookies_of(answer), **TLS) == 200


def test_a_cookie_that_another_host_can_set_does_not_count_over_tls(town: Town) -> None:
    planted = session_cookie(sign_in(town, who="nora")).partition(";")[0]
    mine = session_cookie(sign_in(town, **TLS)).partition(";")[0]
    assert current(town, planted, **TLS) == 401
    for cookie in (f"{planted}; {mine}", f"{mine}; {planted}"):
        answer = town.ask("", "GET", "sessions/current", headers={"cookie": cookie, **TLS})
        assert answer.json()["account"]["name"] == "rita"


def test_a_cookie_of_an_older_version_goes_at_a_sign_in_over_tls(town: Town) -> None:
    sent = sign_in(town, **TLS).headers.get_list("set-cookie")
    assert any(one.startswith("dtrfast_session=; ") and "Max-Age=0" in one for one in sent)


# ---- sessions ------------------------------------------------------------------------------------
def test_a_user_has_so_many_sessions_and_the_oldest_goes(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 3)
    will = session_cookie(sign_in(town, who="will")).partition(";")[0]
    mine = []
    for _ in range(5):
        town.clock.advance(1)
        mine.append(session_cookie(sign_in(town)).partition(";")[0])
    assert [current(town, cookie) for cookie in mine] == [401, 401, 200, 200, 200]
    assert current(town, will) == 200
    assert len(town.api("rita", "GET", "accounts/rita/sessions")["sessions"]) == 3
