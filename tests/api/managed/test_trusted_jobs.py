"""An access token admits its job only while the trust means that job, and no later namesake."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from dtrfast.identity.callers import Caller
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import TRUSTS, number_key
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from tests.api.managed.town import Town, in_memory
from tests.fakes.clock import Clock
from tests.identity.issuer import AUDIENCE, LocalIssuer, running

TRUST = "repositories/acme/app/trusts/main"
SCOPES = ("repository:acme/app:pull,push", "repository:acme/open:pull", "registry:catalog:*")
BRANCH = "repo:acme/app:ref:refs/heads/main"
APP = RepositoryName("acme/app")


class Platform:
    """A town whose jobs come from an issuer."""

    def __init__(self, town: Town, local: LocalIssuer) -> None:
        self.town = town
        self.local = local
        self.issue()

    def issue(self, **changes: str) -> None:
        """Replace the issuers by one with these fields."""
        issuer = {"name": "ci", "url": self.local.url, "audience": AUDIENCE, **changes}
        self.town.api("admin", "PUT", "admin/settings/oidc", {"issuers": [issuer]})

    def trust(self, claims: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
        body = {"issuer": "ci", "claims": claims or {"sub": "repo:acme/**"}, **changes}
        done: dict[str, Any] = self.town.api("ada", "PUT", TRUST, body)
        return done

    def distrust(self) -> None:
        self.town.api("ada", "DELETE", TRUST, status=204)

    def token(self, **claims: Any) -> str:
        signed = self.local.token(self.town.clock(), **claims)
        return self.town.token("oidc", *SCOPES, password=signed)

    def pull(self, token: str, repository: str = "acme/app") -> int:
        return self.town.get(f"/v2/{repository}/manifests/v1", token).status_code

    def begin(self, token: str) -> str:
        """Begin an upload; returns its address."""
        answer = self.send("POST", "/v2/acme/app/blobs/uploads/", token)
        assert answer.status_code == 202, answer.text
        return str(answer.headers["location"])

    def send(self, method: str, path: str, token: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"}
        return self.town.client.request(method, path, headers=headers)


@pytest.fixture
def platform() -> Iterator[Platform]:
    with running() as local, in_memory(Clock(int(time.time()))) as town:
        yield Platform(town, local)


def test_a_job_that_a_narrowed_trust_means_no_more_is_out(platform: Platform) -> None:
    platform.trust()
    token, other = platform.token(), platform.token(sub="repo:acme/app:pull_request")
    assert platform.pull(token) == platform.pull(other) == 200
    platform.trust({"sub": BRANCH})
    assert platform.pull(token) == 200, "the trust still means this job"
    assert platform.pull(other) == 404
    platform.trust({"sub": BRANCH, "ref": "refs/heads/main"})
    assert platform.pull(token) == 404, "the access token did not keep the claim ref"
    assert platform.pull(platform.token()) == 200


def test_actions_that_are_taken_back_end_at_once(platform: Platform) -> None:
    platform.trust()
    token = platform.token()
    location = platform.begin(token)
    platform.trust(actions=["pull"])
    assert platform.pull(token) == 200
    assert platform.send("GET", location, token).status_code == 403


@pytest.mark.parametrize("claims", [{"sub": "repo:acme/**"}, {"sub": "repo:other/**"}])
def test_a_trust_that_is_made_again_is_another_one(
    platform: Platform, claims: dict[str, str]
) -> None:
    platform.trust()
    token = platform.token()
    platform.distrust()
    assert platform.pull(token) == 404
    platform.trust(claims)
    assert platform.pull(token) == 404


def test_a_repository_that_is_made_again_trusts_no_job_of_its_predecessor(
    platform: Platform,
) -> None:
    platform.trust()
    token = platform.token()
    platform.town.api("owen", "DELETE", "repositories/acme/app", status=204)
    platform.town.push("acme/app", b"another")
    assert platform.pull(token) == 404


def test_tokens_end_with_their_issuer(platform: Platform) -> None:
    platform.trust()
    token = platform.token()
    assert platform.pull(token, "acme/open") == 200
    platform.town.api("admin", "PUT", "admin/settings/oidc", {"issuers": []})
    assert platform.pull(token) == platform.pull(token, "acme/open") == 401
    assert platform.town.get("/v2/", token).status_code == 401
    assert platform.town.get("/v2/_catalog", token).status_code == 401
    platform.issue()
    assert platform.pull(token) == 200, "it is the same issuer"


@pytest.mark.parametrize("changed", ["url", "audience"])
def test_another_issuer_of_the_name_inherits_nothing(platform: Platform, changed: str) -> None:
    platform.trust()
    old = platform.token()
    with running() as another:
        claims = {} if changed == "url" else {"aud": "another"}
        platform.local = another if changed == "url" else platform.local
        platform.issue(audience=claims.get("aud", AUDIENCE))
        assert platform.pull(old) == 401
        new = platform.token(**claims)
        assert platform.pull(new) == 404
        (shown,) = platform.town.api("ada", "GET", "repositories/acme/app/trusts")["trusts"]
        assert shown["isInForce"] is False
        assert platform.trust()["isInForce"] is True
        assert platform.pull(new) == 404, "the trust is another one now"
        assert platform.pull(platform.token(**claims)) == 200
        assert platform.pull(old) == 401


def test_a_trust_without_ids_means_the_issuer_that_had_the_name(platform: Platform) -> None:
    """Older versions recorded only the issuer's name."""
    platform.trust()

    def forget(transaction: WriteTransaction) -> None:
        key = number_key(repositories.get(transaction, APP)) + b"main"
        kept = msgspec.json.decode(transaction.get(TRUSTS, key) or b"")
        assert kept.pop("id") > 0
        assert len(kept.pop("issuerId")) == 32
        transaction.put(TRUSTS, key, msgspec.json.encode(kept))

    platform.town.engine.write(forget)
    token = platform.token()
    assert platform.pull(token) == 200
    with running() as another:
        here, platform.local = platform.local, another
        platform.issue()
        assert platform.pull(token) == 401
        assert platform.pull(platform.token()) == 404
    platform.local = here
    platform.issue()
    assert platform.pull(token) == 200
    platform.distrust()
    platform.trust()
    assert platform.pull(token) == 404


def test_an_upload_is_for_its_own_job(platform: Platform) -> None:
    platform.trust()
    location = platform.begin(platform.token())
    assert platform.send("GET", location, platform.token()).status_code == 204
    other = platform.token(sub="repo:acme/app:pull_request")
    assert platform.send("GET", location, other).status_code == 404
    with running() as another:
        platform.local = another
        platform.issue()
        platform.trust()
        assert platform.send("GET", location, platform.token()).status_code == 404


def test_jobs_whose_subjects_begin_alike_have_uploads_of_their_own(platform: Platform) -> None:
    platform.trust()
    long = "repo:acme/" + "a" * 300
    location = platform.begin(platform.token(sub=long + "1"))
    answer = platform.send("GET", location, platform.token(sub=long + "2"))
    assert answer.status_code == 404


def test_a_list_of_claims_is_kept_as_far_as_it_matched(platform: Platform) -> None:
    platform.trust({"groups": "builders-*"})
    groups = ["builders-1", "builders-2", *("x" * 1000 for _ in range(6))]
    token = platform.token(groups=groups)
    platform.trust({"groups": "builders-2"})
    assert platform.pull(token) == 200
    platform.trust({"groups": "builders-3"})
    assert platform.pull(token) == 404


def test_claims_that_are_too_long_to_keep_are_refused(platform: Platform) -> None:
    platform.trust({"note": "x**"})
    signed = platform.local.token(platform.town.clock(), note="x" * 5000)
    answer = platform.town.ask_token("oidc", *SCOPES, password=signed)
    assert answer.status_code == 401
    assert "name shorter ones" in answer.text


def test_a_token_of_an_older_version_is_refused(platform: Platform) -> None:
    """It named its trusts by their names. It was valid for a quarter of an hour."""
    platform.trust()
    caller = Caller("job", "ci:job", "token", trusts=())
    issued = platform.town.identity.bearers.issue(caller, [])
    assert platform.pull(issued.text, "acme/open") == 401


def test_a_trust_of_an_issuer_that_is_not_there_is_refused(platform: Platform) -> None:
    body = {"issuer": "gone", "claims": {"sub": "x"}}
    platform.town.api("ada", "PUT", TRUST, body, 400)


def test_a_subject_is_shown_without_what_misleads(platform: Platform) -> None:
    platform.trust()
    platform.token(sub="repo:acme/\u202eppa\x1b[2J\n")
    (signed_in,) = platform.town.events.of("sign-in")[-1:]
    assert signed_in.actor == "ci:repo:acme/\ufffdppa\ufffd[2J\ufffd"
