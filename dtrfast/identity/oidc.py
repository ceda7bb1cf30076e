"""Keyless CI: tokens that a job's platform signs (OpenID Connect), and the trusts that accept them.

An administrator adds an issuer by name and URL. A repository trusts jobs of an issuer by claims of
their tokens. The key of a token comes from the set that the issuer publishes (`issuer_keys`). A key
or a key's address in the token itself (`jku`, `jwk`, `x5u`) is never used.
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
from dtrfast.errors import AddressRefused, FieldProblem, SettingsInvalid, TokenInvalid
from dtrfast.identity.names import is_account_name
from dtrfast.identity.token_files import TokenFiles
from dtrfast.outgoing.permit import DIRECT, Setter

ALGORITHMS = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip
SIZE_MAX = 16_384
LEEWAY_SECONDS = 60
# Platforms give a job's token minutes to hours. A longer life makes a leaked token dangerous.
LIFE_SECONDS_MAX = 86_400


class _HeaderRules(JWSRegistry):
    """The rules for headers (RFC 7515 section 4): unknown parameters are ignored unless `crit`
    names them.

    A chain of certificates (`x5c`) makes a header long. `SIZE_MAX` bounds the token as a whole.
    """

    max_header_length = SIZE_MAX


_header_rules = _HeaderRules(algorithms=ALGORITHMS, strict_check_header=False)


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A signer of jobs' tokens. `url` equals their `iss`; `audience` must be in their `aud`."""

    name: str
    url: str
    audience: str
    # The address of the keys; empty: `<url>/.well-known/openid-configuration` names it.
    jwks_url: str = ""
    # Authorities for the issuer's certificate, in PEM, such as a cluster's own.
    ca_pem: str = ""
    # A file with a token to send with requests for the keys, as some clusters demand. It must be
    # below a directory of auth.token_file_directories.
    bearer_token_file: str = ""

    @property
    def own_url(self) -> str:
        """The address from which an administrator wants the keys. Only its origin gets the token of
        `bearer_token_file`.
        """
        return self.jwks_url or self.url


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A rule that lets jobs of an issuer do some actions. All `claims` must match.

    `claims` are patterns by the path of a claim. The path of a claim inside another has a slash:
    `kubernetes.io/namespace`. In a pattern, `*` matches any text without `/` and `:`, and `**` any
    text.
    """

    name: str
    issuer: str
    claims: dict[str, str]
    actions: tuple[Literal["pull", "push", "delete"], ...] = ("pull", "push")


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """The claims of a verified token, and the name of its issuer."""

    issuer: str
    claims: Mapping[str, object]


def check_issuer(issuer: Issuer) -> Issuer:
    """Return the issuer if its fields are valid. Raises `SettingsInvalid`."""
    if not is_account_name(issuer.name):
        raise SettingsInvalid(f"name: {issuer.name[:80]!r} has other letters than a-z, 0-9, . _ -")
    if not issuer.audience:
        raise SettingsInvalid("audience: give a value of the tokens' `aud`, such as this registry")
    for field, url in (("url", issuer.url), ("jwksUrl", issuer.jwks_url)):
        if url:
            check_url(url, field)
    if not issuer.url:
        raise SettingsInvalid("url: give the value of the tokens' `iss`")
    if issuer.bearer_token_file and not issuer.own_url.startswith("https://"):
        raise SettingsInvalid(
            "bearerTokenFile: the token is sent over https only: give an https:// address"
        )
    return issuer


def check_issuers(issuers: Sequence[Issuer], files: TokenFiles) -> None:
    """Check the issuers that an administrator sets. Raises `SettingsInvalid`.

    `files` reads their token files, each of which must be readable.
    """
    problems: list[FieldProblem] = []
    for number, issuer in enumerate(issuers):
        try:
            check_issuer(issuer)
            if issuer.bearer_token_file:
                files.read(issuer.bearer_token_file)
        except SettingsInvalid as error:
            if not error.problems:
                raise
            problems += error.within(f"issuers[{number}]").problems
    for field in ("name", "url"):
        first: dict[str, int] = {}
        values = enumerate(getattr(issuer, field) for issuer in issuers)
        again = next((n for n, value in values if first.setdefault(value, n) != n), None)
        if again is not None:
            reason = f"another issuer has the same {field}"
            problems.append(FieldProblem(f"issuers[{again}].{field}", reason))
    if problems:
        raise SettingsInvalid.of(problems)


def check_trust(trust: Trust) -> Trust:
    """Return the trust if its fields are valid. Raises `SettingsInvalid`.

    At least one claim must tell the owner's jobs from other jobs of the issuer.
    """
    if not is_account_name(trust.name):
        raise SettingsInvalid(f"trust: {trust.name[:80]!r} has other letters than a-z, 0-9, . _ -")
    telling = [n for n in trust.claims if n not in ("iss", "aud")]
    if not telling or all(set(trust.claims[name]) <= set("*/:") for name in telling):
        raise SettingsInvalid("claims: name one that tells your jobs from all others, such as sub")
    if not all(trust.claims.values()):
        raise SettingsInvalid("claims: an empty pattern matches nothing")
    if not trust.actions:
        raise SettingsInvalid("actions: say what the jobs may do: pull, push, delete")
    return trust


def matches(trust: Trust, claims: Mapping[str, object]) -> bool:
    """Return True if the trust lets in a job with these claims."""
    return all(
        _matches_claim(pattern, _find_claim(claims, path)) for path, pattern in trust.claims.items()
    )


def identity_of(issuer: Issuer, subject: str | None = None) -> str:
    """Return a hash that identifies an issuer: of the `iss` and the `aud` of its tokens, without
    its name. With a subject, the hash identifies one of its jobs.
    """
    parts = [issuer.url, issuer.audience, *([] if subject is None else [subject])]
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:32]


def claims_seen(trust: Trust, claims: Mapping[str, object]) -> dict[str, object]:
    """Return the claims that a trust compares, by path. Of a list, return only the matching items.

    They suffice to prove again that the trust lets the job in.
    """
    seen: dict[str, object] = {}
    for path, pattern in trust.claims.items():
        value = _find_claim(claims, path)
        if isinstance(value, list):
            value = [item for item in value if _matches_claim(pattern, item)]
        seen[path] = value
    return seen


def _find_claim(claims: Mapping[str, object], path: str) -> object:
    """Return the claim at a path, or None. A claim whose own name has slashes comes first."""
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
    wild = {"**": ".*", "*": "[^/:]*"}
    pieces = re.split(r"(\*{1,2})", pattern)
    expression = "".join(wild.get(piece) or re.escape(piece) for piece in pieces)
    return re.fullmatch(expression, text, flags=re.DOTALL) is not None


def check_url(url: str, field: str = "url") -> None:
    """Raise `SettingsInvalid` for an address from which keys are never read."""
    try:
        # The same rules decide on each call, so an address that is saved can be called.
        permit = DIRECT.permit(url, Setter.ADMINISTRATOR)
    except AddressRefused as error:
        refusal = f"{field}: {url[:120]!r} is not an https:// address ({error.message})"
        raise SettingsInvalid(refusal) from error
    scheme, is_local = permit.url.scheme, is_loopback_host(permit.host)
    if scheme != "https" and not (scheme == "http" and is_local):
        raise SettingsInvalid(f"{field}: {url[:120]!r} is not an https:// address")


# ---- tokens ----------------------------------------------------------------------------------
class PublishedKeys(Protocol):
    """The keys that issuers publish."""

    def find(self, issuer: Issuer, kid: str | None) -> KeySet:
        """Return the issuer's keys, which include the one with this id, if there is an id.

        Raises `TokenInvalid` if the issuer has no such key, and `IssuerUnavailable` while that is
        unknown.
        """
        ...


class Verifier:
    """Verifies tokens of issuers. Safe from many threads.

    `clock` gives seconds since the epoch.
    """

    def __init__(self, keys: PublishedKeys, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock

    def verify(self, token: str, issuers: Sequence[Issuer]) -> VerifiedToken:
        """Verify a token's signature, audience and times. Raises `TokenInvalid`,
        `IssuerUnavailable`.
        """
        # The header and the claims here are not verified yet.
        pieces = token.split(".")
        if len(token) > SIZE_MAX or len(pieces) != 3 or not token.isascii():
            raise TokenInvalid("this is not a token of a job")
        padded = [piece + "=" * (-len(piece) % 4) for piece in pieces[:2]]
        try:
            header, peeked = (
                msgspec.json.decode(base64.urlsafe_b64decode(text), type=dict[str, Any])
                for text in padded
            )
        except (ValueError, msgspec.DecodeError) as error:
            raise TokenInvalid("this is not a token of a job") from error
        issuer = next((i for i in issuers if i.url == peeked.get("iss")), None)
        if issuer is None:
            raise TokenInvalid("no trusted issuer signed this token")
        if header.get("alg") not in ALGORITHMS:
            raise TokenInvalid("the token's signature algorithm is not accepted")
        kid = header.get("kid")
        # Checked before the signature, which may need a wait for a key, and again after it.
        _check_claims(peeked, issuer, self._clock())
        keys = self._keys.find(issuer, kid if isinstance(kid, str) else None)
        try:
            claims = jwt.decode(token, keys, registry=_header_rules).claims
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise TokenInvalid("the token's signature is wrong, or its key is not known") from error
        _check_claims(claims, issuer, self._clock())
        return VerifiedToken(issuer.name, claims)


def _check_claims(claims: Mapping[str, Any], issuer: Issuer, now: float) -> None:
    """Raise `TokenInvalid` for the wrong issuer, audience or times."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != issuer.url or issuer.audience not in audiences:
        raise TokenInvalid(f"the token is not for {issuer.audience}: ask your platform for one")
    seconds: list[float | None] = []
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (is_number and 0 <= value < 1e12):
            raise TokenInvalid(f"the token's {name} is not a time")
        seconds.append(None if value is None else float(value))
    exp, iat, nbf = seconds
    if exp is None:
        raise TokenInvalid("the token has no expiry (exp), which is required")
    if exp + LEEWAY_SECONDS < now:
        raise TokenInvalid("the token has expired: ask your platform for a new one")
    if max(iat or 0, nbf or 0) > now + LEEWAY_SECONDS:
        raise TokenInvalid("the token is from the future: check the clocks")
    if exp - (now if iat is None else iat) > LIFE_SECONDS_MAX:
        raise TokenInvalid("the token's life is too long: ask for one of a day at most")
