"""Access tokens and refresh tokens: JWTs (RFC 7519) of ours, signed and read here only.

An access token says who calls, what it was asked for (`access`, as the Distribution project's
token specification has it), and from which sign-in it came. It is no permission: grants are looked
up at each use. A refresh token says who signed in and nothing else.
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
from dtrfast.identity.callers import Caller, Job
from dtrfast.identity.keys import ALGORITHM, REFRESH_ALGORITHM, Keys
from dtrfast.identity.records import Bound
from dtrfast.identity.tokens import action_names
from dtrfast.registry.permits import SCOPED, Action

# A token comes with every request: one that is longer than this is not ours.
SIZE_MAX = 16_384
# Clocks differ, and a request takes time.
LEEWAY_SECONDS = 60
# For how long an expired token may go on with an upload that its owner began.
FINISH_SECONDS = 86_400
# As long as a sign-in of `docker login` lasts. It ends with the account's password.
REFRESH_SECONDS = 90 * 86_400

_REFRESH_AUDIENCE = "refresh"


class Access(msgspec.Struct, frozen=True):
    """One entry of `access`."""

    type: str
    name: str
    actions: tuple[str, ...] = ()


class _Claims(msgspec.Struct, frozen=True):
    """What our tokens hold besides what every JWT does."""

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
    job: Job | None = None
    trusts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Issued:
    """A token as it goes out, and how long it lives."""

    text: str
    seconds: int


class Bearers:
    """Signs and reads tokens. `audience` is what they are for: the service's name."""

    def __init__(self, keys: Keys, audience: str, seconds: int, clock: Callable[[], int]) -> None:
        self._keys = keys
        self._audience = audience
        self._seconds = seconds
        self._clock = clock

    @property
    def audience(self) -> str:
        return self._audience

    def issue(self, caller: Caller, access: Sequence[Access]) -> Issued:
        """An access token for a caller, who is known by now. Raises `Invalid` if it would be too
        long to be read.
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
        return Issued(text, seconds)

    def read(self, text: str) -> Caller:
        """Who calls with this access token. One that expired lately gives an expired caller.

        Raises `TokenInvalid`.
        """
        claims = self._claims(text, self._audience)
        now = self._clock()
        if claims.nbf > now + LEEWAY_SECONDS or claims.iat > now + LEEWAY_SECONDS:
            raise TokenInvalid("the token is from the future: check the clocks")
        if claims.exp + LEEWAY_SECONDS + FINISH_SECONDS < now:
            raise TokenInvalid("the token has expired: ask for a new one")
        return _caller(claims, is_expired=claims.exp + LEEWAY_SECONDS < now)

    def issue_refresh(self, caller: Caller) -> str:
        """A refresh token for somebody who signed in with a password."""
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
        """Who signed in. Raises `TokenInvalid`."""
        _refuse_size(text)
        try:
            token = jwt.decode(text, self._keys.refresh(), algorithms=[REFRESH_ALGORITHM])
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise TokenInvalid("the refresh token is not one of ours: sign in again") from error
        claims = _convert(token.claims)
        if claims.aud != _REFRESH_AUDIENCE or claims.iss != self._audience:
            raise TokenInvalid("the refresh token is for another service: sign in again")
        if claims.exp < self._clock():
            raise TokenInvalid("the sign-in has expired: sign in again")
        return Caller("user", claims.sub, "refresh", claims.uid, claims.gen)

    def _claims(self, text: str, audience: str) -> _Claims:
        _refuse_size(text)
        key = self._keys.find(_key_id(text))
        if key is None:
            raise TokenInvalid("the token is not one of ours: ask for a new one")
        try:
            token = jwt.decode(text, key, algorithms=[ALGORITHM])
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise TokenInvalid("the token's signature is wrong: ask for a new one") from error
        claims = _convert(token.claims)
        if claims.aud != audience or claims.iss != audience:
            raise TokenInvalid("the token is for another service: ask for a new one")
        return claims


def parse_access(access: Access) -> Bound | None:
    """What an entry bounds a token to; None for what is not about a repository."""
    if access.type != "repository":
        return None
    bits = Action(0)
    for word in access.actions:
        bits |= SCOPED if word == "*" else Action.__members__.get(word.upper(), Action(0))
    return Bound(access.name, int(bits & SCOPED))


def access_entry(name: str, actions: Action) -> Access:
    """The entry that bounds a token to some actions in a repository."""
    return Access("repository", name, tuple(action_names(int(actions))))


def _caller(claims: _Claims, *, is_expired: bool) -> Caller:
    if claims.kind not in ("anonymous", "user", "robot", "job"):
        raise TokenInvalid("the token is of a kind that is not known here: ask for a new one")
    if claims.kind == "job" and claims.job is None:
        raise TokenInvalid("the token lacks what ours have: ask for a new one")
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
        is_expired=is_expired,
        lists=any(entry.type == "registry" and entry.actions for entry in claims.access),
    )


def _key_id(text: str) -> str:
    """The `kid` of a token nobody verified yet."""
    head, _, _ = text.partition(".")
    try:
        header = msgspec.json.decode(_decode_base64(head), type=dict[str, Any])
    except (ValueError, msgspec.DecodeError):
        raise TokenInvalid("this is no token: ask for a new one") from None
    kid = header.get("kid")
    if header.get("alg") != ALGORITHM or not isinstance(kid, str) or not kid.isascii():
        raise TokenInvalid("the token is not one of ours: ask for a new one")
    return kid


def _decode_base64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _convert(claims: dict[str, Any]) -> _Claims:
    try:
        return msgspec.convert(claims, _Claims)
    except msgspec.ValidationError as error:
        raise TokenInvalid("the token lacks what ours have: ask for a new one") from error


def _refuse_size(text: str) -> None:
    if len(text) > SIZE_MAX or not text.isascii():
        raise TokenInvalid("this is no token: ask for a new one")
