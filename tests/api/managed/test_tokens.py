"""Tokens: the token service, and forged tokens."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey

from dtrfast.config import Config, ServerConfig
from dtrfast.identity.bearer import FINISH_SECONDS, LEEWAY_SECONDS, REFRESH_SECONDS
from dtrfast.index.tables import TABLES
from dtrfast.oci.digests import Digest
from tests.api.managed.town import PASSWORD, Town, basic, granted, in_memory
from tests.fakes.client import failure

SCOPE = "repository:acme/app:pull,push"
MANIFEST = "/v2/acme/app/manifests/v1"


def form(town: Town, **fields: str) -> Any:
    return town.client.post("/auth/token", data={"service": "dtrfast", **fields})


# ---- the service -----------------------------------------------------------------------------
def test_the_challenge_leads_to_a_token(town: Town) -> None:
    challenge = town.client.get("/v2/")
    assert failure(challenge).status == 401
    assert challenge.headers["www-authenticate"] == (
        'Bearer realm="http://registry/auth/token",service="dtrfast"'
    )
    assert town.get("/v2/", town.token("")).status_code == 200
    assert town.get("/v2/", town.token("rita")).status_code == 200
    assert town.client.get("/v2/", headers=basic("rita")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "realm"),
    [
        ({"x-forwarded-proto": "https"}, "https://registry"),
        ({"x-forwarded-proto": "javascript"}, "http://registry"),
        ({"host": "registry.example:5000"}, "http://registry.example:5000"),
        ({"host": "[::1]:5000"}, "http://[::1]:5000"),
        ({"host": 'evil",scope="x'}, "http://registry"),
        ({"host": "user@evil/path"}, "http://registry"),
    ],
)
def test_the_realm_is_where_the_client_is(town: Town, headers: dict[str, str], realm: str) -> None:
    challenge = town.client.get("/v2/", headers=headers).headers["www-authenticate"]
    assert challenge == f'Bearer realm="{realm}/auth/token",service="dtrfast"'


def test_an_answer_has_what_clients_read(town: Town) -> None:
    answer = town.ask_token("rita", SCOPE).json()
    assert answer["token"] == answer["access_token"]
    assert answer["expires_in"] == 900
    assert "refresh_token" not in answer


def test_no_answer_has_a_time_that_a_client_would_hold_against_its_own_clock(town: Town) -> None:
    """docker and podman would compute a token's end from it, and use a token that has expired."""
    fields = {"username": "rita", "password": PASSWORD, "access_type": "offline"}
    first = form(town, grant_type="password", **fields)
    refresh = first.json()["refresh_token"]
    for answer in (
        town.ask_token("rita", SCOPE),
        town.ask_token("", SCOPE),
        first,
        form(town, grant_type="refresh_token", refresh_token=refresh),
    ):
        assert answer.status_code == 200
        assert answer.json()["expires_in"] == 900
        assert set(answer.json()) <= {
            "token",
            "access_token",
            "token_type",
            "issued_token_type",
            "expires_in",
            "scope",
            "refresh_token",
        }


def test_empty_credentials_are_none(town: Town) -> None:
    """podman sends `Og==` when it has none."""
    headers = {"authorization": "Basic Og=="}
    assert town.client.get("/auth/token", headers=headers).status_code == 200
    assert town.client.get("/v2/", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "Basic !",
        "Basic " + base64.b64encode(b"\xff").decode(),
        "Digest x",
        "Bearer x",
        "x",
    ],
)
def test_a_header_that_is_none(town: Town, header: str) -> None:
    for path in ("/auth/token", "/v2/"):
        assert town.client.get(path, headers={"authorization": header}).status_code == 401


def test_a_password_gives_a_refresh_token_that_gives_tokens(town: Town) -> None:
    answer = form(
        town, grant_type="password", username="rita", password=PASSWORD, access_type="offline"
    )
    refresh = answer.json()["refresh_token"]
    again = form(town, grant_type="refresh_token", refresh_token=refresh, scope=SCOPE).json()
    assert granted(again["access_token"]) == {"acme/app": ["pull"]}
    assert again["scope"] == "repository:acme/app:pull"


def test_docker_login_asks_without_a_scope(town: Town) -> None:
    query = {
        "account": "rita",
        "client_id": "docker",
        "offline_token": "true",
        "service": "dtrfast",
    }
    answer = town.client.get("/auth/token", params=query, headers=basic("rita")).json()
    assert town.get("/v2/", answer["token"]).status_code == 200
    assert answer["refresh_token"]


def test_a_refresh_token_ends(town: Town) -> None:
    def refresh_token() -> str:
        fields = {"username": "rita", "password": PASSWORD, "access_type": "offline"}
        return str(form(town, grant_type="password", **fields).json()["refresh_token"])

    first = refresh_token()
    town.clock.advance(REFRESH_SECONDS + 1)
    assert form(town, grant_type="refresh_token", refresh_token=first).status_code == 401
    second = refresh_token()
    town.api("admin", "PUT", "accounts/rita/deactivate")
    town.api("admin", "PUT", "accounts/rita/activate")
    assert form(town, grant_type="refresh_token", refresh_token=second).status_code == 401


def test_a_refresh_token_is_no_access_token_nor_the_other_way_round(town: Town) -> None:
    fields = {"username": "rita", "password": PASSWORD, "access_type": "offline"}
    answer = form(town, grant_type="password", **fields).json()
    assert town.get("/v2/", answer["refresh_token"]).status_code == 401
    access = answer["access_token"]
    assert form(town, grant_type="refresh_token", refresh_token=access).status_code == 401


@pytest.mark.parametrize(
    "body", [b"", b"grant_type=magic", b"\xff\xfe", b"&" * 1000, b"grant_type=password"]
)
def test_a_form_that_is_none(town: Town, body: bytes) -> None:
    assert town.client.post("/auth/token", content=body).status_code in (200, 400, 401)
    assert town.client.post("/auth/token", content=b"x=" + b"y" * 100_000).status_code == 413


# ---- made up ---------------------------------------------------------------------------------
def _claims(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, payload, _ = text.split(".")
    decoded = [
        json.loads(base64.urlsafe_b64decode(p + "=" * (-len(p) % 4))) for p in (header, payload)
    ]
    return decoded[0], decoded[1]


def _encode(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _signed(town: Town, **changes: object) -> str:
    """Return a token that is signed with the registry's own key, with other claims."""
    header, claims = _claims(town.token("owen", SCOPE))
    key = town.identity.keys.signing()
    return jwt.encode(header, {**claims, **changes}, key, algorithms=["ES256"])


def _forged(town: Town, kind: str) -> str:
    good = town.token("owen", SCOPE)
    header, claims = _claims(good)
    head, payload, signature = good.split(".")
    other = ECKey.generate_key("P-256")
    public = json.dumps(town.identity.keys.published()[0])
    now = town.clock()
    return {
        "signature of another": ".".join((head, _encode({**claims, "sub": "admin"}), signature)),
        "no signature": f"{head}.{payload}.",
        "alg none": f"{_encode({**header, 'alg': 'none'})}.{payload}.",
        "alg none with a signature": f"{_encode({**header, 'alg': 'none'})}.{payload}.{signature}",
        "hmac with the public key": _hmac({**header, "alg": "HS256"}, claims, public),
        "another key": jwt.encode(header, claims, other, algorithms=["ES256"]),
        "another key that it brings": jwt.encode(
            {**header, "kid": other.thumbprint(), "jwk": other.as_dict(private=False)},
            claims,
            other,
            algorithms=["ES256"],
        ),
        "unknown kid": jwt.encode({**header, "kid": "../x"}, claims, other, algorithms=["ES256"]),
        "no kid": jwt.encode({"alg": "ES256"}, claims, other, algorithms=["ES256"]),
        "wrong audience": _signed(town, aud="another"),
        "wrong issuer": _signed(town, iss="another"),
        "expired": _signed(town, exp=now - LEEWAY_SECONDS - 1),
        "from the future": _signed(town, nbf=now + LEEWAY_SECONDS + 1),
        "made in the future": _signed(town, iat=now + LEEWAY_SECONDS + 1),
        "no end": jwt.encode(
            header,
            {name: value for name, value in claims.items() if name != "exp"},
            town.identity.keys.signing(),
            algorithms=["ES256"],
        ),
        "an unknown kind": _signed(town, kind="root"),
        "an account that is not there": _signed(town, uid=999),
        "an older sign-in": _signed(town, gen=0),
        "oversized": good + "A" * 20_000,
        "four pieces": good + ".x",
        "not ASCII": "é" + good,
    }[kind]


def _hmac(header: dict[str, Any], claims: dict[str, Any], secret: str) -> str:
    return jwt.encode(header, claims, OctKey.import_key(secret), algorithms=["HS256"])


FORGERIES = [
    "signature of another",
    "no signature",
    "alg none",
    "alg none with a signature",
    "hmac with the public key",
    "another key",
    "another key that it brings",
    "unknown kid",
    "no kid",
    "wrong audience",
    "wrong issuer",
    "expired",
    "from the future",
    "made in the future",
    "no end",
    "an unknown kind",
    "an account that is not there",
    "an older sign-in",
    "oversized",
    "four pieces",
    "not ASCII",
]


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forged_token_is_refused(town: Town, kind: str) -> None:
    header = f"Bearer {_forged(town, kind)}".encode("latin-1")
    for path in ("/v2/", MANIFEST, "/api/v0/accounts"):
        refused = town.client.get(path, headers={b"authorization": header})
        assert refused.status_code == 401
    assert town.get(MANIFEST, town.token("owen", SCOPE)).status_code == 200


def test_a_system_caller_cannot_be_claimed(town: Town) -> None:
    token = _signed(town, kind="system", uid=0)
    assert town.get("/v2/", token).status_code == 401


def test_published_keys_verify_tokens_elsewhere(town: Town) -> None:
    """Another service needs only a JWT library and the key set."""
    for path in ("/auth/keys", "/.well-known/jwks.json"):
        keys = KeySet.import_key_set(town.client.get(path).json())
        token = jwt.decode(town.token("rita", SCOPE), keys, algorithms=["ES256"])
        assert token.claims["sub"] == "rita"
        assert "d" not in town.client.get(path).json()["keys"][0]


def test_keys_rotate_and_old_tokens_stay_good(town: Town) -> None:
    first = {key["kid"] for key in town.client.get("/auth/keys").json()["keys"]}
    town.clock.advance(30 * 86_400 - 100)
    token = town.token("rita", SCOPE)
    town.clock.advance(200)
    second = {key["kid"] for key in town.client.get("/auth/keys").json()["keys"]}
    assert first < second
    assert town.get(MANIFEST, token).status_code == 200
    for _ in range(3):
        town.clock.advance(31 * 86_400)
        town.token("rita")
    third = {key["kid"] for key in town.client.get("/auth/keys").json()["keys"]}
    assert not first & third


# ---- uploads that last longer than their token -----------------------------------------------
def test_an_expired_token_finishes_its_own_upload_and_nothing_else(town: Town) -> None:
    headers = {"authorization": f"Bearer {town.token('will', SCOPE)}"}
    location = town.client.post("/v2/acme/app/blobs/uploads/", headers=headers).headers["location"]
    town.clock.advance(3600)
    assert town.client.get("/v2/", headers=headers).status_code == 401
    assert town.client.get(MANIFEST, headers=headers).status_code == 401
    assert town.client.post("/v2/acme/app/blobs/uploads/", headers=headers).status_code == 401
    assert town.client.patch(location, headers=headers, content=b"layer").status_code == 202
    digest = Digest.of_bytes(b"layer")
    assert town.client.put(f"{location}?digest={digest}", headers=headers).status_code == 201


def test_an_expired_token_does_not_finish_the_upload_of_another(town: Town) -> None:
    mine = {"authorization": f"Bearer {town.token('ada', SCOPE)}"}
    begin = town.client.post("/v2/acme/app/blobs/uploads/", headers=basic("will"))
    town.clock.advance(3600)
    patch = town.client.patch(begin.headers["location"], headers=mine, content=b"x")
    assert patch.status_code == 404


def test_an_expired_token_is_good_for_a_day_and_not_when_it_is_revoked(town: Town) -> None:
    headers = {"authorization": f"Bearer {town.token('will', SCOPE)}"}
    location = town.client.post("/v2/acme/app/blobs/uploads/", headers=headers).headers["location"]
    town.clock.advance(3600)
    town.api("admin", "POST", "accounts/will/resetPassword")
    assert town.client.patch(location, headers=headers, content=b"x").status_code == 401
    other = {"authorization": f"Bearer {town.token('ada', SCOPE)}"}
    location = town.client.post("/v2/acme/app/blobs/uploads/", headers=other).headers["location"]
    town.clock.advance(900 + LEEWAY_SECONDS + FINISH_SECONDS + 1)
    assert town.client.patch(location, headers=other, content=b"x").status_code == 401


# ---- personal tokens and robots --------------------------------------------------------------
def make(town: Town, who: str, owner: str, kind: str = "tokens", **fields: object) -> str:
    body = {"name": "ci", **fields}
    return str(town.api(who, "POST", f"accounts/{owner}/{kind}", body, 201)["token"])


def test_a_personal_token_is_as_good_as_its_user(town: Town) -> None:
    token = make(town, "will", "will")
    for headers in (basic("will", token), {"authorization": f"Bearer {token}"}):
        assert town.client.get(MANIFEST, headers=headers).status_code == 200
        assert town.client.post("/v2/acme/app/blobs/uploads/", headers=headers).is_success
        assert town.client.get("/api/v0/accounts/will/tokens", headers=headers).is_success
    assert granted(town.token("will", SCOPE, password=token))["acme/app"] == ["pull", "push"]


def test_a_personal_token_needs_its_users_name(town: Town) -> None:
    token = make(town, "will", "will")
    assert town.client.get("/v2/", headers=basic("rita", token)).status_code == 401
    assert town.client.get("/v2/", headers=basic("WILL", token)).status_code == 200


def test_a_bounded_token_does_what_its_scopes_say(town: Town) -> None:
    scopes = [{"repository": "acme/app", "actions": ["pull"]}]
    token = make(town, "will", "will", scopes=scopes)
    headers = basic("will", token)
    assert town.client.get(MANIFEST, headers=headers).status_code == 200
    assert town.client.post("/v2/acme/app/blobs/uploads/", headers=headers).status_code == 403
    assert town.client.get("/v2/acme/open/manifests/v1", headers=headers).status_code == 200
    assert town.client.post("/v2/will/x/blobs/uploads/", headers=headers).status_code == 404
    assert granted(town.token("will", SCOPE, password=token)) == {"acme/app": ["pull"]}
    assert town.client.get("/api/v0/accounts", headers=headers).status_code == 403
    listed = town.client.get("/v2/_catalog", headers=headers).json()["repositories"]
    assert listed == ["acme/app", "acme/open"]


@pytest.mark.parametrize(
    ("kind", "who", "owner"), [("tokens", "will", "will"), ("robots", "owen", "acme")]
)
def test_a_revoked_token_ends_at_once_with_what_came_of_it(
    town: Town, kind: str, who: str, owner: str
) -> None:
    scopes = [{"repository": "acme/app", "actions": ["pull", "push"]}]
    secret = make(town, who, owner, kind, scopes=scopes)
    name = "acme+ci" if kind == "robots" else "will"
    token = town.token(name, SCOPE, password=secret)
    assert town.get(MANIFEST, token).status_code == 200
    assert town.client.get(MANIFEST, headers=basic(name, secret)).status_code == 200
    town.api(who, "DELETE", f"accounts/{owner}/{kind}/ci", status=204)
    assert town.get(MANIFEST, token).status_code == 401
    assert town.client.get(MANIFEST, headers=basic(name, secret)).status_code == 401


def test_tokens_expire_and_what_came_of_them_with_them(town: Town) -> None:
    secret = make(town, "will", "will", expiresInDays=1)
    town.clock.advance(86_400 - 100)
    answer = town.ask_token("will", SCOPE, password=secret).json()
    assert answer["expires_in"] == 100
    town.clock.advance(101)
    assert town.ask_token("will", password=secret).status_code == 401
    assert town.client.get("/v2/", headers=basic("will", secret)).status_code == 401


def test_a_robot_does_what_its_scopes_say_in_its_organization(town: Town) -> None:
    scopes = [{"repository": "acme/*", "actions": ["pull", "push"]}]
    secret = make(town, "owen", "acme", "robots", scopes=scopes)
    headers = basic("acme+ci", secret)
    assert town.client.get("/v2/acme/secret/manifests/v1", headers=headers).status_code == 200
    assert town.client.post("/v2/acme/new/blobs/uploads/", headers=headers).status_code == 202
    assert town.client.delete(MANIFEST, headers=headers).status_code == 403
    assert town.client.get("/v2/nora/x/manifests/v1", headers=headers).status_code == 404
    assert town.client.get("/api/v0/accounts", headers=headers).status_code == 403
    listed = town.client.get("/v2/_catalog", headers=headers).json()["repositories"]
    assert listed == ["acme/app", "acme/open", "acme/secret"]


def test_a_token_made_with_a_bounded_one_is_bounded_by_both(town: Town) -> None:
    scopes = [{"repository": "acme/app", "actions": ["pull"]}]
    for who, owner, kind, name in (
        ("will", "will", "tokens", "will"),
        ("owen", "acme", "robots", "acme+ci"),
    ):
        secret = make(town, who, owner, kind, scopes=scopes)
        token = town.token(name, "registry:catalog:*", password=secret)
        listed = town.get("/v2/_catalog", token).json()["repositories"]
        assert listed == ["acme/app", "acme/open"]  # the second one is public
        refused = town.get(MANIFEST, token)  # the user may have it: the client asks again
        assert refused.status_code == 401
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize(
    "scope",
    ["*", "nora/*", "nora", "acmeother", "acmeother/*", "acme/*/x", "acme/../nora", "acme*"],
)
def test_a_robot_stays_in_its_organization(town: Town, scope: str) -> None:
    scopes = [{"repository": scope, "actions": ["pull"]}]
    body = {"name": "ci", "scopes": scopes}
    assert town.ask("owen", "POST", "accounts/acme/robots", body).status_code == 400


def test_a_token_is_shown_once_and_stored_hashed(town: Town) -> None:
    secret = make(town, "will", "will")
    (listed,) = town.api("will", "GET", "accounts/will/tokens")["credentials"]
    assert listed["token"] == ""
    for table in TABLES:
        with town.engine.read() as transaction:
            assert all(secret.encode() not in k + value for k, value in transaction.scan(table))
    assert secret not in str(town.events.all)


def test_the_last_use_is_kept(town: Town) -> None:
    secret = make(town, "will", "will")
    town.ask_token("will", password=secret)
    (listed,) = town.api("will", "GET", "accounts/will/tokens")["credentials"]
    assert listed["lastUsedAt"].startswith("2023-11-14T22:13:20")
    assert listed["lastUsedFrom"] == "127.0.0.1"


@pytest.mark.parametrize("who", ["rita", "owen"])
def test_users_do_not_make_tokens_of_others(town: Town, who: str) -> None:
    assert town.ask(who, "POST", "accounts/will/tokens", {"name": "x"}).status_code == 403
    assert town.ask(who, "GET", "accounts/will/tokens").status_code == 403
    body = {"name": "x", "scopes": [{"repository": "acme/app", "actions": ["pull"]}]}
    assert town.ask("will", "POST", "accounts/acme/robots", body).status_code == 403


# ---- pages of other origins ------------------------------------------------------------------
def test_a_token_that_is_too_long_to_be_read_is_not_made(town: Town) -> None:
    def status(size: int) -> int:
        scopes = [("scope", f"repository:acme/{'x' * size}{n}:pull,push") for n in range(100)]
        answer = town.client.get("/auth/token", params=scopes, headers=basic("owen"))
        if answer.status_code != 200:
            assert "ask for fewer" in answer.json()["errors"][0]["message"]
            return answer.status_code
        headers = {"authorization": f"Bearer {answer.json()['token']}"}
        return town.client.get("/v2/", headers=headers).status_code

    assert [status(size) for size in (30, 100)] == [200, 400]


def test_a_page_signs_in_where_a_challenge_leads_it() -> None:
    """A registry UI does this from another origin, with the headers that its browser shows it."""
    page = {"origin": "https://ui.example"}
    config = Config(server=ServerConfig(cors_origins=(page["origin"],)))
    with in_memory(config=config) as town:
        ask = {
            "access-control-request-method": "GET",
            "access-control-request-headers": "authorization",
        }
        for path in (MANIFEST, "/auth/token"):
            preflight = town.client.request("OPTIONS", path, headers=page | ask)
            assert preflight.status_code == 204
            assert preflight.headers["access-control-allow-headers"] == "authorization"
        challenge = town.client.get(MANIFEST, headers=page)
        wrong = town.client.get("/auth/token", headers=page | basic("rita", "wrong"))
        for refused in (challenge, wrong):
            assert refused.status_code == 401
            assert "WWW-Authenticate" in refused.headers["access-control-expose-headers"]
        signed_in = town.client.get(
            "/auth/token", params={"scope": SCOPE}, headers=page | basic("rita")
        )
        bearer = {"authorization": f"Bearer {signed_in.json()['token']}"}
        found = town.client.get(MANIFEST, headers=page | bearer)
        assert found.status_code == 200
        for answer in (challenge, wrong, signed_in, found):
            assert answer.headers["access-control-allow-origin"] == page["origin"]
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert answer.headers["vary"] == "Origin"
        management = town.client.get("/api/v0/accounts", headers=page | basic("rita"))
        assert "access-control-allow-origin" not in management.headers
