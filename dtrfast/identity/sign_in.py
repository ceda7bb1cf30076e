"""From what somebody shows to who it is: here names, passwords and tokens are proven.

A password that was right is remembered for a minute, in memory and as a keyed hash, so that a job
that asks for ten tokens costs one argon2. Tokens cost a SHA-256, and are not counted: 256 random
bits cannot be guessed. Failed passwords are (`tries`).
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import msgspec

from dtrfast.errors import (
    DirectoryUnavailable,
    DtrfastError,
    Overloaded,
    SignInFailed,
    TokenInvalid,
    Unavailable,
)
from dtrfast.identity import accounts, passwords, settings, tokens, trusts
from dtrfast.identity.bearer import Bearers
from dtrfast.identity.callers import PASSWORD_WRONG, TOKEN_UNKNOWN, Caller, Job
from dtrfast.identity.events import Detail, Event, Events, Outcome
from dtrfast.identity.gate import Gate, Origin
from dtrfast.identity.ldap.settings import LdapSettings
from dtrfast.identity.names import fold
from dtrfast.identity.oidc import Issuer, Verified, identity_of
from dtrfast.identity.records import Account, Password, Token
from dtrfast.identity.settings import OidcSettings
from dtrfast.identity.tries import Try
from dtrfast.index.engine import Engine
from dtrfast.oci import characters
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.writing import Author

# The user name that goes with a job's token.
JOB_NAME = "oidc"
# For how long a password is not verified again.
PASSWORD_SECONDS = 60
_PASSWORDS_MAX = 10_000
# What an access token keeps of a job's claims, as JSON: it is sent with every request.
_CLAIMS_SIZE_MAX = 4096
# Tries that come while as many run as may fail wait for these: a verification takes 20 ms.
_POLL_SECONDS = 0.01
_WAIT_SECONDS_MAX = 5.0


class Directory(Protocol):
    """What signing in asks of an LDAP directory."""

    def verify(self, login: str, password: str, stable_id: str | None = None) -> bool:
        """Return True for the password of the user with this login and id. Raises
        `DirectoryUnavailable`.
        """
        ...


class JobVerifier(Protocol):
    """What signing in asks of issuers of jobs' tokens."""

    def verify(self, token: str, issuers: Sequence[Issuer]) -> Verified:
        """Raises `TokenInvalid`, `IssuerUnavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Whom signing in may have to ask."""

    directory: Callable[[LdapSettings], Directory]
    verifier: JobVerifier


class SignIn:
    """Proves who calls. Every method may block; safe from many threads."""

    def __init__(
        self,
        engine: Engine,
        bearers: Bearers,
        gate: Gate,
        elsewhere: Elsewhere,
        events: Events,
        clock: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._bearers = bearers
        self._gate = gate
        self._elsewhere = elsewhere
        self._events = events
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._verified: dict[bytes, tuple[Caller, int]] = {}

    def basic(self, user: str, secret: str, remote: str) -> Caller:
        """Whoever has this name and this password, personal token, or robot's token.

        Raises `SignInFailed`, `TooManyTries`, `Overloaded`, `DirectoryUnavailable`.
        """
        if tokens.is_token(secret):
            return self.token(secret, remote, user)
        return self.password(user, secret, remote)

    def token(self, text: str, remote: str, user: str | None = None) -> Caller:
        """Whose token it is. With `user`, it has to be that one's. Raises `SignInFailed`."""
        prove = partial(self._token, text, remote, user)
        return self._noted("token", user or "", remote, prove)

    def password(self, user: str, password: str, origin: Origin | str) -> Caller:
        """The user with this name and password, from memory or verified now. An origin may be an
        address alone.
        """
        origin = Origin(origin) if isinstance(origin, str) else origin
        prove = partial(self._password, user, password, origin)
        return self._noted("password", user, origin.remote, prove)

    def refresh(self, text: str, remote: str) -> Caller:
        """Who got this refresh token. Raises `TokenInvalid`."""
        return self._noted("refresh", "", remote, partial(self._refresh, text, remote))

    def job(self, text: str, wanted: Sequence[RepositoryName], remote: str) -> Caller:
        """A job, let in by the trusts of the repositories that it wants to use.

        Raises `TokenInvalid` when no issuer that is known signed its token, `IssuerUnavailable`.
        """
        return self._noted("job", JOB_NAME, remote, partial(self._job, text, wanted))

    def held_off_seconds(self, user: str, password: str, remote: str) -> int:
        """Seconds that failures of its address hold a password off; 0: none. Never waits."""
        seconds = self._gate.held_seconds(fold(user), remote)
        return 0 if seconds == 0 or self._is_remembered(user, password) else seconds

    def known_browser(self, account: Account, origin: Origin) -> str:
        """The proof that this account, which just signed in, used the browser of the origin."""
        browsers = self._gate.browsers
        old = origin.proofs.get(str(account.id), "")
        return browsers.issue(account, browsers.read(old, account))

    def _is_remembered(self, user: str, password: str) -> bool:
        """Whether this password was right a moment ago."""
        kept = self._verified.get(self._key(fold(user), password))
        return kept is not None and self._clock() - kept[1] < PASSWORD_SECONDS

    def _noted(self, method: str, user: str, remote: str, prove: Callable[[], Caller]) -> Caller:
        """Every sign-in is an event, and every one that fails."""
        try:
            caller = prove()
        except DtrfastError as error:
            outcome: Outcome = "failed" if isinstance(error, Unavailable) else "refused"
            self._note(fold(user), remote, outcome, {"method": method, "reason": error.message})
            raise
        detail: Detail = {"method": method}
        if caller.token_id:
            detail["token"] = caller.token_id
        self._note(caller.actor, remote, "ok", detail)
        return caller

    def _note(self, actor: str, remote: str, outcome: Outcome, detail: Detail) -> None:
        event = Event(self._clock(), "sign-in", actor, remote, outcome, "", detail)
        self._events.add(event)

    # ---- tokens -------------------------------------------------------------------------------
    def _token(self, text: str, remote: str, user: str | None) -> Caller:
        now = self._clock()
        with self._engine.read() as transaction:
            token = tokens.find(transaction, text)
            account = None if token is None else accounts.find_id(transaction, token.account_id)
            if token is None or account is None or not account.is_active:
                raise SignInFailed(TOKEN_UNKNOWN)
            if token.expires_at and token.expires_at <= now:
                raise SignInFailed("the token has expired: make a new one")
            is_use_due = tokens.is_use_due(transaction, token.id, now)
        caller = _token_caller(account, token)
        if user is not None and fold(user) != caller.actor:
            raise SignInFailed(f"the token belongs to another name than {fold(user)[:80]!r}")
        if is_use_due:
            self._engine.write(partial(tokens.note_use, token=token, now=now, remote=remote))
        return caller

    def _password(self, user: str, password: str, origin: Origin) -> Caller:
        name = fold(user)
        key = self._key(name, password)
        entered = self._enter(name, key, origin)
        if isinstance(entered, Caller):
            return entered
        try:
            account = self._verify(name, password)
        except BaseException:
            entered.forget()
            raise
        if account is None:
            entered.fail()
            raise SignInFailed(PASSWORD_WRONG)
        entered.succeed()
        self._gate.know(account.id, origin.remote)
        caller = Caller("user", account.name, "password", account.id, account.generation)
        if len(self._verified) >= _PASSWORDS_MAX:
            self._verified = {}
        self._verified[key] = (caller, self._clock())
        return caller

    def _enter(self, name: str, key: bytes, origin: Origin) -> Caller | Try:
        """The caller whose password was right a moment ago, or a try that may be verified.

        Raises `TooManyTries`, `Overloaded`.
        """
        entered = self._enter_now(name, key, origin)
        if entered is not None:
            return entered
        deadline = time.monotonic() + _WAIT_SECONDS_MAX
        with self._gate.place(name) as has_place:
            while has_place and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                entered = self._enter_now(name, key, origin)
                if entered is not None:
                    return entered
        raise Overloaded("too many are signing in: try again in a moment")

    def _enter_now(self, name: str, key: bytes, origin: Origin) -> Caller | Try | None:
        """See `_enter`; None while as many tries run as may fail. Raises `TooManyTries`."""
        kept = self._verified.get(key)
        is_recent = kept is not None and self._clock() - kept[1] < PASSWORD_SECONDS
        if kept is not None and is_recent and self._is_current(kept[0]):
            return kept[0]
        return self._gate.tries.enter(name, self._gate.source(name, origin))

    def _refresh(self, text: str, remote: str) -> Caller:
        caller = self._bearers.read_refresh(text)
        account = self._current(caller)
        if account is None:
            raise TokenInvalid("the sign-in has ended: sign in again")
        self._gate.know(caller.account_id, remote)
        return replace(caller, actor=account.name)

    def _job(self, text: str, wanted: Sequence[RepositoryName]) -> Caller:
        with self._engine.read() as transaction:
            known = settings.get(transaction, OidcSettings) or OidcSettings()
        verified = self._elsewhere.verifier.verify(text, known.issuers)
        issuer = known.find(verified.issuer)
        assert issuer is not None  # it is one of those
        with self._engine.read() as transaction:
            found = [
                one
                for name in wanted
                for one in trusts.letting_in(transaction, name, issuer, verified.claims)
            ]
        claims = trusts.claims_of([trust for _, trust in found], verified.claims)
        if len(msgspec.json.encode(claims)) > _CLAIMS_SIZE_MAX:
            raise TokenInvalid("the claims that its trusts name are too long: name shorter ones")
        subject = str(verified.claims.get("sub", ""))
        expires_at = int(verified.claims["exp"])  # type: ignore[call-overload]
        return Caller(
            kind="job",
            # The platform chose the subject, and readers see it beside tags and events.
            actor=characters.shown(f"{verified.issuer}:{subject}")[:255],
            method="token",
            job=Job(identity_of(issuer), identity_of(issuer, subject), claims),
            trusts=tuple((repository, trust.id) for repository, trust in found),
            expires_at=max(expires_at, self._clock() + 1),
        )

    # ---- passwords ----------------------------------------------------------------------------
    def _key(self, name: str, password: str) -> bytes:
        text = f"{name}\0{password}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._secret, digest_size=32).digest()

    def _is_current(self, caller: Caller) -> bool:
        """True if the account of a sign-in may still sign in, under the same name."""
        account = self._current(caller)
        return account is not None and account.name == caller.actor

    def _current(self, caller: Caller) -> Account | None:
        """The account of a sign-in that has not ended, whatever its name is by now."""
        with self._engine.read() as transaction:
            account = accounts.find_id(transaction, caller.account_id)
        if account is None or not _can_sign_in(account, caller.generation):
            return None
        return account

    def _verify(self, name: str, password: str) -> Account | None:
        """The account whose password it is."""
        with self._engine.read() as transaction:
            account = accounts.find(transaction, name)
            kept = None if account is None else accounts.password(transaction, account)
            ldap = settings.get(transaction, LdapSettings)
        if account is not None and not account.is_local and ldap is not None:
            right = self._verify_in_directory(account, kept, password, ldap)
        else:
            known = None if account is None or not account.is_local else kept
            right = passwords.verify(None if known is None else known.hash, password)
        return account if right and account is not None and account.is_active else None

    def _verify_in_directory(
        self, account: Account, kept: Password | None, password: str, ldap: LdapSettings
    ) -> bool:
        """Ask the directory; while it does not answer, what it said some time ago counts."""
        if not password:
            return False  # LDAP takes an empty password for nobody's sign-in, and accepts it
        now = self._clock()
        try:
            directory = self._elsewhere.directory(ldap)
            # The login may be another person's by now, whom no synchronisation has brought yet.
            right = directory.verify(account.name, password, account.directory_id)
        except DirectoryUnavailable:
            if kept is None or now - kept.at > ldap.outage_seconds:
                raise
            return passwords.verify(kept.hash, password)
        if right:
            self._remember(account, kept, password, now, ldap.outage_seconds)
        return right

    def _remember(
        self, account: Account, kept: Password | None, password: str, now: int, seconds: float
    ) -> None:
        """Keep the hash for an outage, unless what is kept will do for half of it."""
        if kept is not None and now - kept.at < seconds / 2:
            return
        try:
            password_hash = passwords.hash_password(password)
        except Overloaded:
            return  # the password is right all the same; the next sign-in keeps it
        keep = partial(
            accounts.remember_password, account=account, password_hash=password_hash, now=now
        )
        self._engine.write(keep)


def first_admin(engine: Engine, author: Author) -> str | None:
    """Make the account `admin` where there is no account at all; returns its password."""
    with engine.read() as transaction:
        if any(True for _ in accounts.scan(transaction)):
            return None
    password = passwords.make_random()
    password_hash = passwords.hash_password(password)
    made = engine.write(partial(accounts.create_first, author=author, password_hash=password_hash))
    return password if made else None


def _can_sign_in(account: Account, generation: int) -> bool:
    return account.is_active and account.generation == generation


def _token_caller(account: Account, token: Token) -> Caller:
    is_robot = token.kind == "robot"
    return Caller(
        kind="robot" if is_robot else "user",
        actor=tokens.robot_name(account.name, token.name) if is_robot else account.name,
        method="token",
        account_id=account.id,
        generation=account.generation,
        token_id=token.id,
        expires_at=token.expires_at,
        has_scopes=bool(token.bounds),
    )
