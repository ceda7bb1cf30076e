"""The guard verifies callers, delays addresses that fail often, and keeps bounded caches."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtrfast.errors import AccessRefused, SignInFailed
from dtrfast.identity import sign_in
from dtrfast.identity.caller_permits import CallerPermits
from dtrfast.identity.callers import SYSTEM
from dtrfast.identity.guard import OpenGuard, parse_basic
from dtrfast.identity.tries import ADDRESS, SIZE, Tries, TryOrigin
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.permits import EVERYTHING, Action
from tests.api.managed.town import PASSWORD, Town, basic, granted, in_memory
from tests.fakes.clock import Clock
from tests.identity.issuer import AUDIENCE, running

HERE = "10.0.0.1"


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with in_memory() as town:
        yield town


def header(who: str, password: str = PASSWORD) -> str:
    return basic(who, password)["authorization"]


def fail_often(town: Town, remote: str) -> None:
    for number in range(ADDRESS.free + 1):
        fail(town.identity.sign_in._gate.tries, f"user{number}", remote)


def fail(tries: Tries, name: str, remote: str) -> None:
    """Count a failure."""
    keys = tries._holding(name, TryOrigin(remote))[0]
    tries.settle(tuple(key for _, key in keys), failed=True)


# ---- tries -------------------------------------------------------------------------------------
def test_an_address_that_failed_often_may_not_try_passwords(town: Town) -> None:
    guard, remote = town.identity.guard, "10.0.0.2"
    assert guard.held_off_seconds(header("rita", "wrong"), remote) == 0
    fail_often(town, remote)
    assert guard.held_off_seconds(header("rita", "wrong"), remote) > 0
    assert guard.held_off_seconds(header("rita", "wrong"), HERE) == 0


def test_an_address_that_failed_often_may_send_a_credential_that_is_no_guess(town: Town) -> None:
    """Tokens, jobs' tokens, and passwords that were verified a moment ago are never held off."""
    guard, remote = town.identity.guard, "10.0.0.3"
    guard.identify(header("will"), HERE)
    fail_often(town, remote)
    for shown in (
        None,
        "Bearer x",
        header("rita", "dtrp_token"),
        header("oidc", "a.b.c"),
        header("will"),
        "Basic !",
    ):
        assert guard.held_off_seconds(shown, remote) == 0, shown


def test_processes_of_a_server_count_failed_tries_together(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "tries"
    path.write_bytes(b"of an older version")
    one, two = Tries.open(path, clock), Tries.open(path, clock)
    assert path.stat().st_size == SIZE
    Tries.open(tmp_path / "new", clock)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    for _ in range(ADDRESS.free + 3):
        fail(one, "rita", HERE)
    wait_seconds = two.address_held_seconds(HERE)
    assert wait_seconds == one.address_held_seconds(HERE) > 0
    assert two.address_held_seconds("10.0.0.2") == 0
    clock.advance(wait_seconds)
    assert two.address_held_seconds(HERE) == 0


# ---- memory ------------------------------------------------------------------------------------
def test_the_caches_of_callers_and_passwords_are_bounded(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtrfast.identity.guard._VISITS_MAX", 2)
    monkeypatch.setattr(sign_in, "_PASSWORDS_MAX", 2)
    guard = town.identity.guard
    for who in ("owen", "rita", "will", "ada", "nora"):
        assert guard.identify(header(who), HERE).caller.actor == who
        assert guard.known(header(who)) is not None, "the last one is kept"
    assert len(guard._visits) <= 2
    assert len(town.identity.sign_in._verified) <= 2


def test_a_caller_is_verified_once_for_two_requests_at_once(town: Town) -> None:
    """Two requests with one header wait for a thread each. The second uses the first's visit."""
    guard = town.identity.guard
    visit = guard.identify(header("rita"), HERE)
    assert guard.identify(header("rita"), HERE) is visit
    assert guard.identify(None, HERE).caller.kind == "anonymous"


# ---- headers -----------------------------------------------------------------------------------
def test_a_basic_header_is_bounded_and_well_formed() -> None:
    assert parse_basic(base64.b64encode(b"rita:a:b").decode()) == ("rita", "a:b")
    with pytest.raises(SignInFailed, match="the Authorization header is too long"):
        parse_basic("x" * 20_000)
    for value in ("!", base64.b64encode(b"\xff:").decode()):
        with pytest.raises(SignInFailed, match=r"is not valid Basic \(RFC 7617\)"):
            parse_basic(value)


def test_without_accounts_every_caller_is_anonymous(town: Town) -> None:
    guard = OpenGuard(town.registry)
    for sent in (None, header("rita", "wrong"), "nonsense"):
        visit = guard.identify(sent, HERE)
        assert visit.caller.kind == "anonymous"
        assert visit == guard.known(sent)
        assert guard.held_off_seconds(sent, HERE) == 0
    assert not guard.challenges


# ---- lists -------------------------------------------------------------------------------------
def test_the_system_itself_may_do_everything_and_sees_everything(town: Town) -> None:
    permits = CallerPermits(SYSTEM)
    with town.engine.read() as transaction:
        seen = list(permits.visible(transaction, b""))
        assert permits.verdict(transaction, RepositoryName("acme/secret")).allowed == EVERYTHING
    assert seen == [b"acme/app", b"acme/open", b"acme/secret"]


def test_a_grant_on_a_namespace_shows_all_of_its_repositories(town: Town) -> None:
    town.api("owen", "POST", "accounts/acme/teams", {"name": "auditors"}, 201)
    town.api("owen", "PUT", "accounts/acme/teams/auditors/members/nora")
    path = "repositoryNamespaces/acme/teamAccess/auditors"
    town.api("owen", "PUT", path, {"accessLevel": "read-only"})
    with town.engine.read() as transaction:
        nora = town.identity.guard.identify(header("nora"), HERE).caller
        seen = list(CallerPermits(nora).visible(transaction, b""))
    assert seen == [b"acme/app", b"acme/open", b"acme/secret"]


def test_a_job_sees_public_repositories_and_those_that_trust_it() -> None:
    with running() as local, in_memory(Clock(int(time.time()))) as town:
        issuer = {"name": "ci", "url": local.url, "audience": AUDIENCE}
        town.api("admin", "PUT", "admin/settings/oidc", {"issuers": [issuer]})
        trust = {"issuer": "ci", "claims": {"repository": "acme/app"}}
        town.api("ada", "PUT", "repositories/acme/app/trusts/main", trust)
        scopes = ("repository:acme/app:pull", "repository:acme/none:pull", "registry:catalog:*")
        token = town.token("oidc", *scopes, password=local.token(town.clock()))
        assert granted(token)["acme/app"] == ["pull"]
        listed = town.get("/v2/_catalog", token).json()
        assert listed == {"repositories": ["acme/app", "acme/open"]}
        town.api("ada", "DELETE", "repositories/acme/app/trusts/main", status=204)
        listed = json.loads(town.get("/v2/_catalog", token).content)
        assert listed == {"repositories": ["acme/open"]}


def test_a_token_that_may_not_do_more_says_so(town: Town) -> None:
    """The user may push but the token may not: the caller needs another token, not a grant."""
    body = {"name": "ci", "scopes": [{"repository": "acme/*", "actions": ["pull"]}]}
    token = town.api("owen", "POST", "accounts/owen/tokens", body, 201)["token"]
    caller = town.identity.guard.identify(f"Bearer {token}", HERE).caller
    with town.engine.read() as transaction, pytest.raises(AccessRefused, match="use one that may"):
        CallerPermits(caller).check(transaction, Action.PUSH, RepositoryName("acme/app"))
