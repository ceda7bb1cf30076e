"""Who a request is from: from its `Authorization` header to the registry as that caller may use it.

What a header proved is kept in memory, so that a busy client costs a look into a dictionary. What
is kept is a caller, never a verdict: whether the caller still counts and what it may do is looked
up in the transaction of each answer (`access.CallerPermits`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dtrfast.errors import SignInFailed, SignInRequired, TokenInvalid
from dtrfast.identity.access import CallerPermits
from dtrfast.identity.bearer import FINISH_SECONDS, Bearers
from dtrfast.identity.callers import ANONYMOUS, Caller
from dtrfast.identity.sign_in import JOB_NAME, PASSWORD_SECONDS, SignIn
from dtrfast.identity.tokens import is_token
from dtrfast.registry.registry import Registry

# A header takes about 2 KB with its permits' verdicts; jobs have a token each.
_VISITS_MAX = 8192
_SECRETS_SIZE_MAX = 16_384
# How the header of a signed access token begins, which is of no use in some minutes.
_ACCESS_TOKEN = "Bearer eyJ"


@dataclass(frozen=True, slots=True)
class Visit:
    """A caller, and the registry as that caller may use it. `until` is when to prove it again."""

    caller: Caller
    registry: Registry
    until: int


class Guard(Protocol):
    """Tells who calls. The lanes ask `known`, the application also `identify`."""

    @property
    def challenges(self) -> bool:
        """Whether callers may have to say who they are."""
        ...

    def known(self, header: str | None, *, finishing: bool = False) -> Visit | None:
        """Who sends this header, if that is known without waiting. `finishing`: an expired token
        counts, as it may go on with its own upload.
        """
        ...

    def identify(self, header: str | None, remote: str, *, finishing: bool = False) -> Visit:
        """Who sends this header. May wait: call it on a thread.

        Raises `Unidentified`, `TooManyTries`, `Unavailable`.
        """
        ...

    def held_off_seconds(self, header: str | None, remote: str) -> int:
        """For how long this address may not try a password as this header has one; 0: it may.

        Answers without waiting.
        """
        ...


class OpenGuard:
    """Everybody may do everything: nobody is asked who they are."""

    challenges = False

    def __init__(self, registry: Registry) -> None:
        self._visit = Visit(ANONYMOUS, registry, 0)

    def known(self, header: str | None, *, finishing: bool = False) -> Visit:
        return self._visit

    def identify(self, header: str | None, remote: str, *, finishing: bool = False) -> Visit:
        return self._visit

    def held_off_seconds(self, header: str | None, remote: str) -> int:
        return 0


class AccountsGuard:
    """Callers are accounts, robots, jobs, or anonymous."""

    challenges = True

    def __init__(
        self, registry: Registry, sign_in: SignIn, bearers: Bearers, clock: Callable[[], int]
    ) -> None:
        self._registry = registry
        self._sign_in = sign_in
        self._bearers = bearers
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._visits: dict[str | bytes, Visit] = {}
        self._anonymous = self.visit(ANONYMOUS)

    def visit(self, caller: Caller, until: int = 0) -> Visit:
        """The registry as somebody may use it who is known otherwise."""
        return Visit(caller, self._registry.acting_for(CallerPermits(caller)), until)

    def known(self, header: str | None, *, finishing: bool = False) -> Visit | None:
        """See `Guard.known`."""
        if header is None:
            return self._anonymous
        visit = self._visits.get(self._key(header))
        if visit is None:
            return None
        late = FINISH_SECONDS if finishing and visit.caller.method == "bearer" else 0
        return visit if self._clock() < visit.until + late else None

    def identify(self, header: str | None, remote: str, *, finishing: bool = False) -> Visit:
        """See `Guard.identify`."""
        known = self.known(header, finishing=finishing)
        if known is not None or header is None:
            return known or self._anonymous
        caller = self._prove(header, remote)
        if caller is ANONYMOUS:
            return self._anonymous
        if caller.is_expired and not finishing:
            raise TokenInvalid("the token has expired: ask for a new one")
        visit = self.visit(caller, self._until(caller))
        if len(self._visits) >= _VISITS_MAX:
            self._visits = {}
        self._visits[self._key(header)] = visit
        return visit

    def held_off_seconds(self, header: str | None, remote: str) -> int:
        """See `Guard.held_off_seconds`."""
        if header is None or not header.startswith("Basic "):
            return 0
        try:
            user, secret = parse_basic(header[len("Basic ") :].strip())
        except SignInFailed:
            return 0
        if not user or is_token(secret) or user == JOB_NAME:
            return 0  # no password, so it is not counted
        return self._sign_in.held_off_seconds(user, secret, remote)

    def _prove(self, header: str, remote: str) -> Caller:
        scheme, _, value = header.strip().partition(" ")
        value = value.strip()
        if scheme.lower() == "bearer" and len(value) <= _SECRETS_SIZE_MAX:
            return self._sign_in.token(value, remote) if is_token(value) else self._read(value)
        if scheme.lower() == "basic":
            user, secret = parse_basic(value)
            return self._sign_in.basic(user, secret, remote) if user or secret else ANONYMOUS
        raise SignInRequired("the Authorization header is neither Basic nor Bearer")

    def _read(self, value: str) -> Caller:
        return self._bearers.read(value)

    def _until(self, caller: Caller) -> int:
        now = self._clock()
        if caller.method == "password":
            return now + PASSWORD_SECONDS
        return caller.expires_at or now + 3600

    def _key(self, header: str) -> str | bytes:
        """What a header is kept under. One with a lasting secret is not kept itself."""
        if header.startswith(_ACCESS_TOKEN):
            return header
        data = header.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self._secret, digest_size=16).digest()


def parse_basic(value: str) -> tuple[str, str]:
    """Name and password of a Basic header (RFC 7617). Raises `SignInFailed`."""
    if len(value) > _SECRETS_SIZE_MAX:
        raise SignInFailed("the Authorization header is too long")
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise SignInFailed("the Authorization header is not Basic as RFC 7617 has it") from error
    user, _, secret = text.partition(":")
    return user, secret
