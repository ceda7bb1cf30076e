"""Keyless CI: valid and forged tokens of an issuer, and the jobs that a trust lets in."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from dtrfast.errors import IssuerUnavailable, SettingsInvalid, TokenInvalid
from dtrfast.identity import oidc
from dtrfast.identity.issuer_documents import IssuerDocuments, Read, fetch_keys
from dtrfast.identity.issuer_keys import IssuerKeys
from dtrfast.identity.ldap import settings as ldap
from dtrfast.identity.ldap.settings import LdapSettings, UserSet
from dtrfast.identity.oidc import (
    Issuer,
    Trust,
    Verifier,
    check_issuer,
    check_issuers,
    check_trust,
    matches,
)
from dtrfast.identity.token_files import TokenFiles
from dtrfast.outgoing.permit import DIRECT, CallLimits
from tests.api.managed.town import Town, granted, in_memory
from tests.fakes.clock import Clock
from tests.identity.issuer import AUDIENCE, LocalIssuer, other_key, running


@pytest.fixture(scope="module")
def served() -> Iterator[LocalIssuer]:
    with running() as issuer:
        yield issuer


@pytest.fixture
def local(served: LocalIssuer) -> LocalIssuer:
    served.requests.clear()
    served.stalls_seconds, served.redirects_to, served.padding = 0.0, "", 0
    served.is_broken = False
    return served


class Elapsed:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def elapsed() -> Elapsed:
    return Elapsed()


@pytest.fixture
def verifier(elapsed: Elapsed) -> Verifier:
    return reading(IssuerDocuments(DIRECT, TokenFiles(())), elapsed)


def reading(read: Read, elapsed: Callable[[], float] = time.monotonic) -> Verifier:
    """Return a verifier that reads documents of issuers with `read`."""
    return Verifier(IssuerKeys(partial(fetch_keys, read), elapsed))


# ---- verifying -------------------------------------------------------------------------------
def test_a_token_of_an_issuer(local: LocalIssuer, verifier: Verifier) -> None:
    token = local.token(time.time())
    verified = verifier.verify(token, [local.issuer(name="other", url="https://x"), local.issuer()])
    assert verified.issuer == "ci"
    assert verified.claims["repository"] == "acme/app"
    for _ in range(5):
        verifier.verify(token, [local.issuer()])
    assert local.requests.total() == 2  # discovery and keys, once


def test_keys_at_an_address_of_their_own(local: LocalIssuer, verifier: Verifier) -> None:
    verifier.verify(local.token(time.time()), [local.issuer(jwks_url=f"{local.url}/keys")])
    assert dict(local.requests) == {"/keys": 1}


@pytest.mark.parametrize("algorithm", ["ES256", "RS512", "PS256"])
def test_other_signatures(local: LocalIssuer, verifier: Verifier, algorithm: str) -> None:
    key: Any = other_key() if algorithm == "ES256" else RSAKey.generate_key(2048)
    local.keys = [local.key, key]
    verifier.verify(local.token(time.time(), key, algorithm), [local.issuer()])
    local.keys = [local.key]


def _encode(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _signed(local: LocalIssuer, **parameters: Any) -> str:
    """Return a token with more header parameters, signed without the checks of the library."""
    header = {"alg": "RS256", "kid": local.key.thumbprint(), **parameters}
    text = f"{_encode(header)}.{_encode(local.claims(time.time()))}"
    key = local.key.private_key
    assert key is not None
    made = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"


HEADERS: dict[str, tuple[bool, dict[str, Any]]] = {
    "a parameter of its own": (True, {"ver": "2.0"}),
    "several, of any type": (True, {"https://idp/x": {"a": [None]}, "": 1, "é": "é"}),
    "encryption's": (True, {"enc": "A256GCM", "zip": "DEF"}),
    "another type": (True, {"typ": "at+jwt", "cty": "x"}),
    "a chain of certificates": (True, {"x5c": ["M" * 3000, "M" * 3000], "x5t": "x"}),
    "crit names one that is not understood": (False, {"ver": "2.0", "crit": ["ver"]}),
    "crit names one that is not there": (False, {"crit": ["ver"]}),
    "crit names a registered and an unknown one": (False, {"ver": 1, "crit": ["kid", "ver"]}),
    "crit is no list": (False, {"ver": 1, "crit": "ver"}),
    "crit is a number": (False, {"crit": 1}),
    "the payload is not encoded": (False, {"b64": False, "crit": ["b64"]}),
}


@pytest.mark.parametrize("name", HEADERS)
def test_header_parameters_count_where_crit_has_them(
    local: LocalIssuer, verifier: Verifier, name: str
) -> None:
    accepted, parameters = HEADERS[name]
    token = _signed(local, **parameters)
    if accepted:
        assert verifier.verify(token, [local.issuer()]).claims["repository"] == "acme/app"
    else:
        with pytest.raises(TokenInvalid):
            verifier.verify(token, [local.issuer()])


def _forge_signature(local: LocalIssuer, kind: str) -> str:
    """Return a token with good claims that the issuer's key did not sign."""
    now = time.time()
    claims = local.claims(now)
    head, payload, signature = local.token(now).split(".")
    public = json.dumps(local.key.as_dict(private=False))
    kid = local.key.thumbprint()
    other = RSAKey.generate_key(2048)
    brings = {"alg": "RS256", "kid": other.thumbprint(), "jwk": other.as_dict(private=False)}
    made: dict[str, Any] = {
        "alg none": lambda: f"{_encode({'alg': 'none', 'kid': kid})}.{payload}.",
        "hmac with the public key": lambda: jwt.encode(
            {"alg": "HS256", "kid": kid}, claims, OctKey.import_key(public), algorithms=["HS256"]
        ),
        "another key": lambda: local.token(now, other),
        "another key under our name": lambda: jwt.encode(
            {"alg": "RS256", "kid": kid}, claims, other, algorithms=["RS256"]
        ),
        "a key that it brings": lambda: jwt.encode(brings, claims, other, algorithms=["RS256"]),
        "a key elsewhere": lambda: jwt.encode(
            {"alg": "RS256", "kid": other.thumbprint(), "jku": "http://127.0.0.1:1/keys"},
            claims,
            other,
            algorithms=["RS256"],
        ),
        "other claims": lambda: f"{head}.{_encode({**claims, 'sub': 'x'})}.{signature}",
    }
    return str(made[kind]())


def _forge_claims(local: LocalIssuer, kind: str) -> str:
    """Return a token with wrong claims, or a text that is no token."""
    now = time.time()
    good = local.token(now)
    head, payload, signature = good.split(".")
    made: dict[str, Any] = {
        "wrong issuer": lambda: local.token(now, iss=f"{local.url}/"),
        "no issuer": lambda: local.token(now, iss=None),
        "wrong audience": lambda: local.token(now, aud="elsewhere"),
        "no audience": lambda: local.token(now, aud=None),
        "expired": lambda: local.token(now, iat=int(now) - 900, exp=int(now) - 61),
        "no end": lambda: local.token(now, exp=None),
        "a far end": lambda: local.token(now, exp=int(now) + 90_000),
        "an end that is no time": lambda: local.token(now, exp="tomorrow"),
        "an end that is true": lambda: local.token(now, exp=True),
        "made in the future": lambda: local.token(now, iat=int(now) + 120),
        "valid in the future": lambda: local.token(now, nbf=int(now) + 120),
        "oversized": lambda: local.token(now, padding="x" * 20_000),
        "two pieces": lambda: f"{head}.{payload}",
        "not JSON": lambda: "a.b.c",
        "a list": lambda: f"{_encode([1])}.{_encode([2])}.{signature}",
        "not ASCII": lambda: "é" + good,
    }
    return str(made[kind]())


FORGED_SIGNATURES = [
    "alg none",
    "hmac with the public key",
    "another key",
    "another key under our name",
    "a key that it brings",
    "a key elsewhere",
    "other claims",
]
FORGED_CLAIMS = [
    "wrong issuer",
    "no issuer",
    "wrong audience",
    "no audience",
    "expired",
    "no end",
    "a far end",
    "an end that is no time",
    "an end that is true",
    "made in the future",
    "valid in the future",
    "oversized",
    "two pieces",
    "not JSON",
    "a list",
    "not ASCII",
]


@pytest.mark.parametrize("kind", [*FORGED_SIGNATURES, *FORGED_CLAIMS])
def test_a_token_that_is_none(local: LocalIssuer, verifier: Verifier, kind: str) -> None:
    token = (_forge_signature if kind in FORGED_SIGNATURES else _forge_claims)(local, kind)
    with pytest.raises(TokenInvalid) as refused:
        verifier.verify(token, [local.issuer()])
    assert token not in refused.value.message


def test_several_audiences(local: LocalIssuer, verifier: Verifier) -> None:
    verifier.verify(local.token(time.time(), aud=["x", AUDIENCE]), [local.issuer()])


# ---- keys ------------------------------------------------------------------------------------
def test_a_new_key_is_asked_for(local: LocalIssuer, verifier: Verifier, elapsed: Elapsed) -> None:
    verifier.verify(local.token(time.time()), [local.issuer()])
    local.rotate()
    elapsed.now += 31
    verifier.verify(local.token(time.time()), [local.issuer()])
    assert local.requests["/keys"] == 2


def test_made_up_key_ids_do_not_hammer_the_issuer(
    local: LocalIssuer, verifier: Verifier, elapsed: Elapsed
) -> None:
    verifier.verify(local.token(time.time()), [local.issuer()])
    forged = local.token(time.time(), RSAKey.generate_key(2048))
    for _ in range(50):
        elapsed.now += 1
        with pytest.raises(TokenInvalid):
            verifier.verify(forged, [local.issuer()])
    assert local.requests["/keys"] == 2


def test_an_issuer_that_is_down_is_believed_for_a_day(
    local: LocalIssuer, verifier: Verifier, elapsed: Elapsed
) -> None:
    token = local.token(time.time())
    verifier.verify(token, [local.issuer()])
    local.is_broken = True
    elapsed.now += 86_000
    verifier.verify(token, [local.issuer()])
    elapsed.now += 1_000
    with pytest.raises(IssuerUnavailable):
        verifier.verify(token, [local.issuer()])


@pytest.mark.parametrize("trouble", ["down", "slow", "redirects", "huge", "another issuer"])
def test_an_issuer_in_trouble(
    local: LocalIssuer, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    token = local.token(time.time())
    issuer = local.issuer()
    verifier = reading(IssuerDocuments(DIRECT, TokenFiles(()), CallLimits(step_seconds=0.3)))
    if trouble == "down":
        local.is_broken = True
    elif trouble == "slow":
        local.stalls_seconds = 1.0
    elif trouble == "redirects":
        local.redirects_to = f"{local.url}/keys"
    elif trouble == "huge":
        local.padding = 2 << 20
    else:
        monkeypatch.setattr(local, "url", f"{local.url}/x")
        token = local.token(time.time(), iss=issuer.url)
    with pytest.raises(IssuerUnavailable):
        verifier.verify(token, [issuer])


def test_an_issuer_that_is_down_from_the_start_is_asked_again_after_half_a_minute(
    local: LocalIssuer, verifier: Verifier, elapsed: Elapsed
) -> None:
    token = local.token(time.time())
    local.is_broken = True
    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            verifier.verify(token, [local.issuer()])
    assert local.requests.total() == 1
    local.is_broken = False
    elapsed.now += 31
    verifier.verify(token, [local.issuer()])


URL = "https://issuer.example"
DISCOVERY = f"{URL}/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ({DISCOVERY: b"<html>"}, "the issuer ci did not answer with a JSON object"),
        ({DISCOVERY: b"[]"}, "the issuer ci did not answer with a JSON object"),
        ({DISCOVERY: b'{"issuer": "https://other.example"}'}, "names another issuer than"),
        (
            {DISCOVERY: b'{"issuer": "https://issuer.example", "jwks_uri": "http://10.0.0.1/"}'},
            "names no https:// address of keys",
        ),
        ({f"{URL}/keys": b'{"keys": null}'}, "publishes no usable key"),
        ({f"{URL}/keys": b'{"keys": {"kty": "RSA"}}'}, "publishes no usable key"),
        ({f"{URL}/keys": b'{"keys": ["x", {"kty": "oct"}]}'}, "publishes no usable key"),
        ({f"{URL}/keys": b'{"keys": [{"kty": "RSA"}]}'}, "publishes no usable key"),
    ],
)
def test_an_issuer_that_publishes_nonsense_is_unavailable(
    local: LocalIssuer, documents: dict[str, bytes], message: str
) -> None:
    jwks_url = "" if DISCOVERY in documents else f"{URL}/keys"
    issuer = Issuer(name="ci", url=URL, audience=AUDIENCE, jwks_url=jwks_url)
    verifier = reading(lambda address, issuer: documents[address])
    with pytest.raises(IssuerUnavailable, match=message):
        verifier.verify(local.token(time.time(), iss=URL), [issuer])


def test_a_key_that_cannot_be_read_does_not_hide_the_others(local: LocalIssuer) -> None:
    document = json.loads(local.document("/keys"))
    document["keys"].insert(0, {"kty": "RSA", "n": "broken"})
    verifier = reading(lambda address, issuer: json.dumps(document).encode())
    issuer = local.issuer(jwks_url=f"{URL}/keys")
    assert verifier.verify(local.token(time.time()), [issuer]).issuer == "ci"


# ---- trusts ----------------------------------------------------------------------------------
CLAIMS = {
    "sub": "repo:acme/app:ref:refs/heads/main",
    "repository": "acme/app",
    "ref_protected": True,
    "groups": ["a", "ops"],
    "kubernetes.io": {"namespace": "ci", "pod": {"name": "x"}},
    "cluster.example/node": {"zone": "a"},
}


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"repository": "acme/app"}, True),
        ({"repository": "acme/*"}, True),
        ({"repository": "*"}, False),
        ({"repository": "**"}, True),
        ({"repository": "acme/ap"}, False),
        ({"repository": "ACME/app"}, False),
        ({"repository": "acme.app"}, False),
        ({"sub": "repo:acme/app:ref:refs/heads/*"}, True),
        ({"sub": "repo:acme/app:*"}, False),
        ({"sub": "repo:acme/app:**"}, True),
        ({"sub": "repo:acme/app"}, False),
        ({"sub": "**main\n"}, False),
        ({"ref_protected": "true"}, True),
        ({"groups": "ops"}, True),
        ({"groups": "o*"}, True),
        ({"groups": "dev"}, False),
        ({"kubernetes.io/namespace": "ci"}, True),
        ({"kubernetes.io/pod/name": "x"}, True),
        ({"kubernetes.io": "**"}, False),
        ({"cluster.example/node/zone": "a"}, True),
        ({"cluster.example/rack/zone": "a"}, False),
        ({"missing": "**"}, False),
        ({"repository": "acme/app", "sub": "x"}, False),
    ],
)
def test_matching(claims: dict[str, str], expected: bool) -> None:
    assert matches(Trust(name="x", issuer="ci", claims=claims), CLAIMS) is expected


@pytest.mark.parametrize(
    "claims", [{}, {"iss": "x"}, {"aud": "x"}, {"sub": "**"}, {"sub": "*/*"}, {"sub": ""}]
)
def test_a_trust_in_everybody(claims: dict[str, str]) -> None:
    with pytest.raises(SettingsInvalid):
        check_trust(Trust(name="x", issuer="ci", claims=claims))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "A B"}, "trust: 'A B' has other letters"),
        ({"claims": {"sub": "x", "ref": ""}}, "claims: an empty pattern matches nothing"),
        ({"actions": ()}, "actions: say what the jobs may do"),
    ],
)
def test_a_trust_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"name": "x", "issuer": "ci", "claims": {"sub": "x"}}
    check_trust(Trust(**good))
    with pytest.raises(SettingsInvalid, match=message):
        check_trust(Trust(**{**good, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://issuer.example"},
        {"url": "https://[::1"},
        {"url": "https://issuer.example:port"},
        {"url": "ftp://x"},
        {"url": "https://ci:secret@issuer.example"},
        {"url": "https://issuer.example:0"},
        {"url": "https://issuer .example"},
        {"jwks_url": "https://issuer.example/\n"},
        {"url": ""},
        {"jwks_url": "file:///etc/passwd"},
        {"audience": ""},
        {"name": "A B"},
    ],
)
def test_an_issuer_that_cannot_be(changes: dict[str, str]) -> None:
    good = {"name": "ci", "url": "https://issuer.example", "audience": "x"}
    check_issuer(Issuer(**good))
    with pytest.raises(SettingsInvalid):
        check_issuer(Issuer(**{**good, **changes}))


# ---- sign-ins of jobs ------------------------------------------------------------------------
@pytest.fixture
def town(local: LocalIssuer) -> Iterator[Town]:
    with in_memory(Clock(int(time.time()))) as town:
        issuer = {"name": "ci", "url": local.url, "audience": AUDIENCE}
        town.api("admin", "PUT", "admin/settings/oidc", {"issuers": [issuer]})
        trust = {"issuer": "ci", "claims": {"repository": "acme/app"}}
        town.api("ada", "PUT", "repositories/acme/app/trusts/main", trust)
        yield town


SCOPES = ("repository:acme/app:pull,push,delete", "repository:acme/secret:pull")


def test_a_job_signs_in_with_its_own_token(town: Town, local: LocalIssuer) -> None:
    job = local.token(town.clock())
    token = town.token("oidc", *SCOPES, password=job)
    assert granted(token) == {"acme/app": ["pull", "push"]}
    headers = {"authorization": f"Bearer {token}"}
    assert town.get("/v2/acme/app/manifests/v1", token).status_code == 200
    assert town.client.post("/v2/acme/app/blobs/uploads/", headers=headers).status_code == 202
    assert town.client.delete("/v2/acme/app/manifests/v1", headers=headers).status_code == 403
    assert town.get("/v2/acme/secret/manifests/v1", token).status_code == 404
    assert town.get("/v2/acme/open/manifests/v1", token).status_code == 401  # not requested
    assert town.client.get("/api/v0/accounts", headers=headers).status_code == 403


def test_the_standard_exchange(town: Town, local: LocalIssuer) -> None:
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": local.token(town.clock()),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "scope": "repository:acme/app:pull",
    }
    answer = town.client.post("/auth/token", data=form).json()
    assert granted(answer["access_token"]) == {"acme/app": ["pull"]}
    assert "refresh_token" not in answer
    assert answer["expires_in"] <= 600


def test_docker_login_as_a_job(town: Town, local: LocalIssuer) -> None:
    """The client requests no scope, and then `/v2/`."""
    token = town.token("oidc", password=local.token(town.clock()))
    assert town.get("/v2/", token).status_code == 200


@pytest.mark.parametrize(
    "changes", [{"repository": "acme/fork"}, {"repository": None}, {"repository": "x/acme/app"}]
)
def test_another_job_gets_nothing(town: Town, local: LocalIssuer, changes: dict[str, Any]) -> None:
    token = town.token("oidc", *SCOPES, password=local.token(town.clock(), **changes))
    assert granted(token) == {}
    assert town.get("/v2/acme/app/manifests/v1", token).status_code == 404


def test_a_forged_job_is_refused_and_noted(town: Town, local: LocalIssuer) -> None:
    forged = local.token(town.clock(), RSAKey.generate_key(2048))
    assert town.ask_token("oidc", *SCOPES, password=forged).status_code == 401
    (event,) = [e for e in town.events.of("sign-in") if e.actor == "oidc"]
    assert event.outcome == "refused"
    assert forged not in str(town.events.all)


def test_a_trust_that_is_taken_back_ends_at_once(town: Town, local: LocalIssuer) -> None:
    token = town.token("oidc", *SCOPES, password=local.token(town.clock()))
    assert town.get("/v2/acme/app/manifests/v1", token).status_code == 200
    town.api("ada", "DELETE", "repositories/acme/app/trusts/main", status=204)
    assert town.get("/v2/acme/app/manifests/v1", token).status_code == 404


def test_who_may_trust_whom(town: Town) -> None:
    trust = {"issuer": "ci", "claims": {"repository": "x/y"}}
    path = "repositories/acme/app/trusts/x"
    assert town.ask("will", "PUT", path, trust).status_code == 403
    assert town.ask("nora", "GET", "repositories/acme/app/trusts").status_code == 404
    unknown = {**trust, "issuer": "elsewhere"}
    assert town.ask("ada", "PUT", path, unknown).status_code == 400
    assert town.ask("ada", "PUT", path, {**trust, "claims": {"sub": "**"}}).status_code == 400
    assert town.ask("ada", "PUT", "admin/settings/oidc", {"issuers": []}).status_code == 403
    shown = town.api("ada", "GET", "repositories/acme/app/trusts")["trusts"]
    assert [entry["name"] for entry in shown] == ["main"]


def test_a_fault_of_no_field_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that collect the faults of all fields must not lose any other."""

    def fail(*_: object) -> None:
        raise SettingsInvalid("there is no field for this")

    issuer = Issuer(name="ci", url="https://ci.example", audience="x")
    check_issuers([issuer], TokenFiles(()))
    monkeypatch.setattr(oidc, "check_issuer", fail)
    with pytest.raises(SettingsInvalid, match="no field for this"):
        check_issuers([issuer], TokenFiles(()))
    users = UserSet(base_dn="dc=x")
    directory = LdapSettings(server_urls=("ldap://x",), user_sets=(users,), search_dn="")
    ldap.check(directory)
    monkeypatch.setattr(ldap, "check_dn", fail)
    with pytest.raises(SettingsInvalid, match="no field for this"):
        ldap.check(directory)
    assert str(SettingsInvalid("no field").within("issuers[0]")) == "no field"
