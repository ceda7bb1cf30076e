"""Access tokens and refresh tokens: JWTs (RFC 7519) that only this registry signs and reads.

An access token names the caller, its sign-in, and the requested scopes (`access` in the token
specification of the Distribution project). It grants nothing: each use looks the grants up. A
refresh token names the user that signed in and nothing else.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError

from dtrfast.errors import Invalid, TokenInvalid
from dtrfast.identity.callers import Caller, JobIdentity
from dtrfast.identity.records import Bound
from dtrfast.identity.signing_keys import ALGORITHM, REFRESH_ALGORITHM, SigningKeys
from dtrfast.identity.tokens import action_names
from dtrfast.registry.permits import SCOPED, Action

# The maximum length of a token that this registry issues: clients send it with each request.
SIZE_MAX = 16_384
# Clocks differ, and a request takes time.
LEEWAY_SECONDS = 60
# An expired token may continue an upload of its owner for this long.
FINISH_SECONDS = 86_400
# The life of a refresh token, as `docker login` stores it. A new password ends it earlier.
REFRESH_SECONDS = 90 * 86_400

_REFRESH_AUDIENCE = "refresh"


class Access(msgspec.Struct, frozen=True):
    """One entry of the claim `access`: a scope."""

    type: str
    name: str
    actions: tuple[str, ...] = ()


class _TokenClaims(msgspec.Struct, frozen=True):
    """The claims of this registry's tokens.

    `uid` is the account's id, `gen` its generation, and `tid` the id of the stored token.
    """

    sub: str
    aud: str
    iss: str
    exp: int
    nbf: int
    iat: int
    kind: str
    uid: int = 0
    gen: int = 0
    tid: int = 0
    access: tuple[Access, ...] = ()
    job: JobIdentity | None = None
    trusts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SignedToken:
    """An access token to send to a client, and its life in seconds."""

    text: str
    seconds: int


class Bearers:
    """Signs and reads tokens. Safe from many threads.

    `audience` is the service's name, which each token must have. `seconds` is the life of an access
    token. `clock` gives seconds since the epoch.
    """

    def __init__(
        self, keys: SigningKeys, audience: str, seconds: int, clock: Callable[[], int]
    ) -> None:
        self._keys = keys
        self._audience = audience
        self._seconds = seconds
        self._clock = clock

    @property
    def audience(self) -> str:
        """The service's name."""
        return self._audience

    def issue(self, caller: Caller, access: Sequence[Access]) -> SignedToken:
        """Return an access token for a caller that has been proved.

        It lives no longer than the caller's own credential. Raises `Invalid` if its text would
        exceed `SIZE_MAX`.
        """
        now = self._clock()
        seconds = self._seconds
        if caller.expires_at:
            seconds = max(1, min(seconds, caller.expires_at - now))
        claims: dict[str, Any] = {
            "iss": self._audience,
            "sub": "" if caller.kind == "anonymous" else caller.actor,
            "aud": self._audience,
            "exp": now + seconds,
            "nbf": now - LEEWAY_SECONDS,
            "iat": now,
            "jti": secrets.token_urlsafe(12),
            "kind": caller.kind,
            "access": msgspec.to_builtins(access),
        }
        if caller.account_id:
            claims |= {"uid": caller.account_id, "gen": caller.generation, "tid": caller.token_id}
        if caller.job is not None:
            claims |= {"job": msgspec.to_builtins(caller.job), "trusts": list(caller.trusts)}
        key = self._keys.signing()
        header = {"typ": "JWT", "alg": ALGORITHM, "kid": key.thumbprint()}
        text = jwt.encode(header, claims, key, algorithms=[ALGORITHM])
        if len(text) > SIZE_MAX:
            raise Invalid("a token for so many scopes is too long for a header: ask for fewer")
        return SignedToken(text, seconds)

    def read(self, text: str) -> Caller:
        """Return the caller of an access token. Raises `TokenInvalid`.

        A token that expired within `FINISH_SECONDS` gives a caller with `is_expired`.
        """
        claims = self._verify(text)
        now = self._clock()
        if claims.nbf > now + LEEWAY_SECONDS or claims.iat > now + LEEWAY_SECONDS:
            raise TokenInvalid("the token is from the future: check the clocks")
        if claims.exp + LEEWAY_SECONDS + FINISH_SECONDS < now:
            raise TokenInvalid("the token has expired: ask for a new one")
        if claims.kind not in ("anonymous", "user", "robot", "job"):
            raise TokenInvalid("the kind of the token is unknown: ask for a new one")
        if claims.kind == "job" and claims.job is None:
            raise TokenInvalid("the token lacks a claim: ask for a new one")
        bounds = (parse_access(entry) for entry in claims.access)
        return Caller(
            kind=claims.kind,  # type: ignore[arg-type]  # one of those above
            actor=claims.sub or "anonymous",
            method="bearer",
            account_id=claims.uid,
            generation=claims.gen,
            token_id=claims.tid,
            bounds=tuple(bound for bound in bounds if bound is not None),
            job=claims.job,
            trusts=claims.trusts,
            expires_at=claims.exp + LEEWAY_SECONDS,
            is_expired=claims.exp + LEEWAY_SECONDS < now,
            lists=any(entry.type == "registry" and entry.actions for entry in claims.access),
        )

    def issue_refresh(self, caller: Caller) -> str:
        """Return a refresh token for a user that signed in with a password."""
        now = self._clock()
        claims = {
            "iss": self._audience,
            "sub": caller.actor,
            "aud": _REFRESH_AUDIENCE,
            "exp": now + REFRESH_SECONDS,
            "nbf": now - LEEWAY_SECONDS,
            "iat": now,
            "kind": caller.kind,
            "uid": caller.account_id,
            "gen": caller.generation,
        }
        header = {"typ": "JWT", "alg": REFRESH_ALGORITHM}
        return jwt.encode(header, claims, self._keys.refresh(), algorithms=[REFRESH_ALGORITHM])

    def read_refresh(self, text: str) -> Caller:
        """Return the user that signed in, as the token says. Raises `TokenInvalid`.

        The caller must check that the account's generation is still the same.
        """
        _refuse_size(text)
        try:
            token = jwt.decode(text, self._keys.refresh(), algorithms=[REFRESH_ALGORITHM])
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise TokenInvalid(
                "this registry did not sign the refresh token: sign in again"
            ) from error
        claims = _convert(token.claims)
        if claims.aud != _REFRESH_AUDIENCE or claims.iss != self._audience:
            raise TokenInvalid("the refresh token is for another service: sign in again")
        if claims.exp < self._clock():
            raise TokenInvalid("the sign-in has expired: sign in again")
        return Caller("user", claims.sub, "refresh", claims.uid, claims.gen)

    def _verify(self, text: str) -> _TokenClaims:
        """Return the claims of an access token, without a check of its times."""
        _refuse_size(text)
        # The header here is not verified yet.
        head, _, _ = text.partition(".")
        try:
            data = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
            header = msgspec.json.decode(data, type=dict[str, Any])
        except (ValueError, msgspec.DecodeError):
            raise TokenInvalid("this is no token: ask for a new one") from None
        kid = header.get("kid")
        if header.get("alg") != ALGORITHM or not isinstance(kid, str) or not kid.isascii():
            raise TokenInvalid("this registry did not sign the token: ask for a new one")
        key = self._keys.find(kid)
        if key is None:
            raise TokenInvalid("this registry did not sign the token: ask for a new one")
        try:
            token = jwt.decode(text, key, algorithms=[ALGORITHM])
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise TokenInvalid("the token's signature is wrong: ask for a new one") from error
        claims = _convert(token.claims)
        if claims.aud != self._audience or claims.iss != self._audience:
            raise TokenInvalid("the token is for another service: ask for a new one")
        return claims


def parse_access(access: Access) -> Bound | None:
    """Return the bound of a scope; None if the scope is not of a repository."""
    if access.type != "repository":
        return None
    bits = Action(0)
    for word in access.actions:
        bits |= SCOPED if word == "*" else Action.__members__.get(word.upper(), Action(0))
    return Bound(access.name, int(bits & SCOPED))


def access_entry(name: str, actions: Action) -> Access:
    """Return the scope for some actions in a repository."""
    return Access("repository", name, tuple(action_names(int(actions))))


def _convert(claims: dict[str, Any]) -> _TokenClaims:
    try:
        return msgspec.convert(claims, _TokenClaims)
    except msgspec.ValidationError as error:
        raise TokenInvalid("the token lacks a claim: ask for a new one") from error


def _refuse_size(text: str) -> None:
    if len(text) > SIZE_MAX or not text.isascii():
        raise TokenInvalid("this is not a token: ask for a new one")
