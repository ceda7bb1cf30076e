"""Keyless CI: tokens that a job's own platform signs (OpenID Connect), and whom they let in.

An issuer is trusted by name and address; a repository trusts jobs of an issuer by claims. Which key
signed a token is looked up in the set that the issuer publishes (`issuer_keys`). A token's own word
on where its key is (`jku`, `jwk`, `x5u`) is never followed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from dtrfast.config import is_loopback_host
from dtrfast.errors import AddressRefused, SettingsInvalid, TokenInvalid
from dtrfast.identity.names import is_account_name
from dtrfast.outgoing.permit import DIRECT, Setter

ALGORITHMS = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip
SIZE_MAX = 16_384
LEEWAY_SECONDS = 60
# Platforms give jobs minutes to hours; a longer life is a leaked token's.
LIFE_SECONDS_MAX = 86_400


class _HeaderRules(JWSRegistry):
    """RFC 7515 section 4: parameters that are not understood are ignored, unless `crit` has them.

    Chains of certificates (`x5c`) make a header long; the token as a whole has its bound.
    """

    max_header_length = SIZE_MAX


_header_rules = _HeaderRules(algorithms=ALGORITHMS, strict_check_header=False)


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Who signs jobs' tokens. `url` is their `iss`, to the letter; `audience` what `aud` holds."""

    name: str
    url: str
    audience: str
    # Where the keys are; empty: where `<url>/.well-known/openid-configuration` says.
    jwks_url: str = ""
    # Authorities for the issuer's certificate, in PEM, such as a cluster's own.
    ca_pem: str = ""
    # A file with a token to show when asking for the keys, as some clusters want it, below a
    # directory of auth.token_file_directories.
    bearer_token_file: str = ""

    @property
    def own_url(self) -> str:
        """The address that an administrator gave for the keys: the one that may see the token."""
        return self.jwks_url or self.url


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Which jobs of an issuer may do what. All `claims` have to match.

    A claim inside another is named by both, a slash between them: `kubernetes.io/namespace`. In
    a pattern `*` is anything but `/` and `:`, and `**` is anything.
    """

    name: str
    issuer: str
    claims: dict[str, str]
    actions: tuple[Literal["pull", "push", "delete"], ...] = ("pull", "push")


@dataclass(frozen=True, slots=True)
class Verified:
    """A token's claims, and who vouches for them."""

    issuer: str
    claims: Mapping[str, object]


def check_issuer(issuer: Issuer) -> Issuer:
    """Raises `SettingsInvalid`."""
    if not is_account_name(issuer.name):
        raise SettingsInvalid(f"name: {issuer.name[:80]!r} has other letters than a-z, 0-9, . _ -")
    if not issuer.audience:
        raise SettingsInvalid("audience: say what the tokens' `aud` holds, such as this registry")
    for url in filter(None, (issuer.url, issuer.jwks_url)):
        check_url(url)
    if not issuer.url:
        raise SettingsInvalid("url: say what the tokens' `iss` is")
    if issuer.bearer_token_file and not issuer.own_url.startswith("https://"):
        raise SettingsInvalid(
            "bearerTokenFile: the token is sent over https only: give an https:// address"
        )
    return issuer


def check_trust(trust: Trust) -> Trust:
    """Raises `SettingsInvalid`."""
    if not is_account_name(trust.name):
        raise SettingsInvalid(f"name: {trust.name[:80]!r} has other letters than a-z, 0-9, . _ -")
    telling = [n for n in trust.claims if n not in ("iss", "aud")]
    if not telling or all(set(trust.claims[name]) <= set("*/:") for name in telling):
        raise SettingsInvalid("claims: name one that tells your jobs from everybody's, such as sub")
    if not all(trust.claims.values()):
        raise SettingsInvalid("claims: an empty pattern matches nothing")
    if not trust.actions:
        raise SettingsInvalid("actions: say what the jobs may do: pull, push, delete")
    return trust


def matches(trust: Trust, claims: Mapping[str, object]) -> bool:
    """Whether a job with these claims is one that the trust means."""
    return all(
        _matches_claim(pattern, _find_claim(claims, path)) for path, pattern in trust.claims.items()
    )


def identity_of(issuer: Issuer, subject: str | None = None) -> str:
    """A hash of what an issuer is, whatever its name: the `iss` and the `aud` of its tokens. With
    a subject, of one of its jobs.
    """
    parts = [issuer.url, issuer.audience, *([] if subject is None else [subject])]
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:32]


def claims_seen(trust: Trust, claims: Mapping[str, object]) -> dict[str, object]:
    """The claims that a trust looks at, by path: so much proves again that it lets the job in. Of
    a list only what matches.
    """
    seen: dict[str, object] = {}
    for path, pattern in trust.claims.items():
        value = _find_claim(claims, path)
        if isinstance(value, list):
            value = [item for item in value if _matches_claim(pattern, item)]
        seen[path] = value
    return seen


def _find_claim(claims: Mapping[str, object], path: str) -> object:
    """The claim at a path; a claim whose own name has slashes comes first."""
    if path in claims:
        return claims[path]
    first, slash, rest = path.partition("/")
    while slash:
        inner = claims.get(first)
        if isinstance(inner, Mapping):
            return _find_claim(inner, rest)
        more, slash, rest = rest.partition("/")
        first = f"{first}/{more}"
    return None


def _matches_claim(pattern: str, value: object) -> bool:
    if isinstance(value, list):
        return any(_matches_claim(pattern, item) for item in value)
    if value is None or isinstance(value, Mapping):
        return False
    text = value if isinstance(value, str) else json.dumps(value)
    return re.fullmatch(_expression(pattern), text, flags=re.DOTALL) is not None


def _expression(pattern: str) -> str:
    pieces = re.split(r"(\*{1,2})", pattern)
    wild = {"**": ".*", "*": "[^/:]*"}
    return "".join(wild.get(piece) or re.escape(piece) for piece in pieces)


def check_url(url: str) -> None:
    """Raises `SettingsInvalid` for an address that keys are not read from."""
    try:
        # The one that will decide on each call, so no address is saved that is never called.
        permit = DIRECT.permit(url, Setter.ADMINISTRATOR)
    except AddressRefused as error:
        refusal = f"{url[:120]!r} is not an https:// address ({error.message})"
        raise SettingsInvalid(refusal) from error
    scheme, is_local = permit.url.scheme, is_loopback_host(permit.host)
    if scheme != "https" and not (scheme == "http" and is_local):
        raise SettingsInvalid(f"{url[:120]!r} is not an https:// address")


# ---- tokens ----------------------------------------------------------------------------------
class Keys(Protocol):
    """The keys that issuers publish."""

    def find(self, issuer: Issuer, kid: str | None) -> KeySet:
        """Keys with the one of this id, or all of them without an id.

        Raises `TokenInvalid` if the issuer has no such key, `IssuerUnavailable` if that is not
        known yet.
        """
        ...


class Verifier:
    """Verifies tokens of issuers. Safe from many threads.

    `clock` gives seconds since the epoch.
    """

    def __init__(self, keys: Keys, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock

    def verify(self, token: str, issuers: Sequence[Issuer]) -> Verified:
        """The token's claims. Raises `TokenInvalid`, `IssuerUnavailable`."""
        header, peeked = _peek(token)
        issuer = next((i for i in issuers if i.url == peeked.get("iss")), None)
        if issuer is None:
            raise TokenInvalid("no issuer that is trusted here signed this token")
        if header.get("alg") not in ALGORITHMS:
            raise TokenInvalid("the token is signed in a way that is not accepted here")
        kid = header.get("kid")
        # Without a signature that costs nothing: no key is worth a wait for a token of no use.
        _check_claims(peeked, issuer, self._clock())
        keys = self._keys.find(issuer, kid if isinstance(kid, str) else None)
        claims = _decode(token, keys)
        _check_claims(claims, issuer, self._clock())
        return Verified(issuer.name, claims)


def _decode(token: str, keys: KeySet) -> dict[str, Any]:
    try:
        return jwt.decode(token, keys, registry=_header_rules).claims
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise TokenInvalid("the token's signature is wrong, or its key is not known") from error


def _check_claims(claims: Mapping[str, Any], issuer: Issuer, now: float) -> None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != issuer.url or issuer.audience not in audiences:
        raise TokenInvalid(f"the token is not for {issuer.audience}: ask your platform for one")
    exp, iat, nbf = (_second(claims, name) for name in ("exp", "iat", "nbf"))
    if exp is None:
        raise TokenInvalid("the token never expires: only one that does is accepted")
    if exp + LEEWAY_SECONDS < now:
        raise TokenInvalid("the token has expired: ask your platform for a new one")
    if max(iat or 0, nbf or 0) > now + LEEWAY_SECONDS:
        raise TokenInvalid("the token is from the future: check the clocks")
    if exp - (now if iat is None else iat) > LIFE_SECONDS_MAX:
        raise TokenInvalid("the token lives for too long: ask for one of a day at most")


def _second(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise TokenInvalid(f"the token's {name} is no time")
    return float(value)


def _peek(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token that nobody verified yet. Raises `TokenInvalid`."""
    pieces = token.split(".")
    if len(token) > SIZE_MAX or len(pieces) != 3 or not token.isascii():
        raise TokenInvalid("this is no token of a job")
    try:
        header, claims = (_decode_piece(piece) for piece in pieces[:2])
    except (ValueError, msgspec.DecodeError) as error:
        raise TokenInvalid("this is no token of a job") from error
    return header, claims


def _decode_piece(piece: str) -> dict[str, Any]:
    data = base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4))
    return msgspec.json.decode(data, type=dict[str, Any])
