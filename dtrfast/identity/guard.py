"""The guard: from the `Authorization` header of a request to the registry for its caller.

The caller that a header proved is kept in memory, so that a request of a busy client costs one
dictionary look-up. It says only who calls. Each answer checks in its own transaction that the
credential is valid and what the caller may do (`caller_permits.CallerPermits`, which keeps verdicts
for one access epoch).
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
from dtrfast.identity import sessions
from dtrfast.identity.bearer import FINISH_SECONDS, Bearers
from dtrfast.identity.caller_permits import CallerPermits
from dtrfast.identity.callers import ANONYMOUS, Caller
from dtrfast.identity.records import SessionRecord
from dtrfast.identity.sign_in import JOB_NAME, PASSWORD_SECONDS, SignIn
from dtrfast.identity.tokens import is_token
from dtrfast.index.engine import Engine
from dtrfast.registry.registry import Registry

# A cached header takes about 2 KB with the verdicts of its permits. Each job has its own token.
_VISITS_MAX = 8192
_SECRETS_SIZE_MAX = 16_384
# The start of a header with a signed access token, which expires in minutes.
_ACCESS_TOKEN = "Bearer eyJ"


@dataclass(frozen=True, slots=True)
class Visit:
    """A caller, and the registry as that caller may use it.

    At `until`, in seconds since the epoch, the caller must be proved again.
    """

    caller: Caller
    registry: Registry
    until: int


class Guard(Protocol):
    """Finds the caller of a request from its `Authorization` header.

    The lanes call `known`; the application calls `identify` as well.
    """

    @property
    def challenges(self) -> bool:
        """True if the registry may ask a caller to sign in."""
        ...

    def known(self, header: str | None, *, finishing: bool = False) -> Visit | None:
        """Return the visit of this header's caller; None if it is not in memory. Never waits.

        With `finishing`, an expired access token counts: its caller may finish its own upload.
        """
        ...

    def identify(self, header: str | None, remote: str, *, finishing: bool = False) -> Visit:
        """Return the visit of this header's caller. May wait: call it on a thread.

        `remote` is the client's address; `finishing` is as for `known`. Raises `CallerUnknown`,
        `TooManyTries`, `Unavailable`.
        """
        ...

    def held_off_seconds(self, header: str | None, remote: str) -> int:
        """Return the seconds until this address may try the header's password; 0: now.

        0 for a header without a password. Never waits.
        """
        ...


class OpenGuard:
    """The guard of a registry without accounts: every caller is anonymous and may do everything."""

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
    """The guard of a registry with accounts. Safe from many threads.

    A caller is a user, a robot, a job, or anonymous. `clock` gives seconds since the epoch.
    """

    challenges = True

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        sign_in: SignIn,
        bearers: Bearers,
        clock: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._sign_in = sign_in
        self._bearers = bearers
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._visits: dict[str | bytes, Visit] = {}
        self._others: dict[Caller, Visit] = {}
        self._anonymous = self._visit(ANONYMOUS)

    def visit(self, caller: Caller) -> Visit:
        """Return the visit of a caller that another part of the server has proved.

        Such callers are the system and the user of a session. Requests of one caller share permits.
        """
        visit = self._others.get(caller)
        if visit is None:
            if len(self._others) >= _VISITS_MAX:
                self._others = {}
            visit = self._others[caller] = self._visit(caller)
        return visit

    def find_session(self, session_id: str) -> tuple[Caller, SessionRecord] | None:
        """Return the user of a session and its record; None if the session has ended."""
        try:
            with self._engine.read() as transaction:
                return sessions.find(transaction, session_id, self._clock())
        except TokenInvalid:
            return None

    def _visit(self, caller: Caller, until: int = 0) -> Visit:
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
        scheme, _, value = header.strip().partition(" ")
        value = value.strip()
        if scheme.lower() == "bearer" and len(value) <= _SECRETS_SIZE_MAX:
            is_stored = is_token(value)
            caller = self._sign_in.token(value, remote) if is_stored else self._bearers.read(value)
        elif scheme.lower() == "basic":
            user, secret = parse_basic(value)
            caller = self._sign_in.basic(user, secret, remote) if user or secret else ANONYMOUS
        else:
            raise SignInRequired("the Authorization header is neither Basic nor Bearer")
        if caller is ANONYMOUS:
            return self._anonymous
        if caller.is_expired and not finishing:
            raise TokenInvalid("the token has expired: ask for a new one")
        now = self._clock()
        until = caller.expires_at or now + 3600
        visit = self._visit(
            caller, now + PASSWORD_SECONDS if caller.method == "password" else until
        )
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
            return 0  # not a password, so failures are not counted
        return self._sign_in.held_off_seconds(user, secret, remote)

    def _key(self, header: str) -> str | bytes:
        """Return the cache key of a header. Memory keeps only the hash of a lasting secret."""
        if header.startswith(_ACCESS_TOKEN):
            return header
        data = header.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self._secret, digest_size=16).digest()


def parse_basic(value: str) -> tuple[str, str]:
    """Return the name and the password of a Basic header (RFC 7617). Raises `SignInFailed`."""
    if len(value) > _SECRETS_SIZE_MAX:
        raise SignInFailed("the Authorization header is too long")
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise SignInFailed("the Authorization header is not valid Basic (RFC 7617)") from error
    user, _, secret = text.partition(":")
    return user, secret
