"""Sign-in: the proof that a caller owns the name, password or token that it sends.

A password that was right is remembered in memory for a minute, as a keyed hash. A job that requests
ten tokens thus costs one argon2 hash. Failed passwords are counted (`tries`). A token costs a
SHA-256 hash, and failures are not counted: a client cannot guess 256 random bits.
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
    ServerBusy,
    SignInFailed,
    TokenInvalid,
    Unavailable,
)
from dtrfast.identity import accounts, passwords, settings, tokens, trusts
from dtrfast.identity.bearer import Bearers
from dtrfast.identity.callers import PASSWORD_WRONG, TOKEN_UNKNOWN, Caller, JobIdentity
from dtrfast.identity.events import Detail, Event, Events, Outcome
from dtrfast.identity.gate import Gate, Origin
from dtrfast.identity.ldap.settings import LdapSettings
from dtrfast.identity.names import fold
from dtrfast.identity.oidc import Issuer, VerifiedToken, identity_of
from dtrfast.identity.records import Account, Password
from dtrfast.identity.settings import OidcSettings
from dtrfast.identity.tries import Try
from dtrfast.index.engine import Engine
from dtrfast.oci import characters
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.writing import Author

# The user name that goes with a job's token.
JOB_NAME = "oidc"
# A password that was right is not verified again for this long.
PASSWORD_SECONDS = 60
_PASSWORDS_MAX = 10_000
# Bytes of a job's claims, as JSON, in an access token. Clients send it with each request.
_CLAIMS_SIZE_MAX = 4096
# While as many tries run as may fail, the next waits in steps of this. A verification takes 20 ms.
_POLL_SECONDS = 0.01
_WAIT_SECONDS_MAX = 5.0


class PasswordDirectory(Protocol):
    """The part of an LDAP directory that a sign-in needs."""

    def verify(self, login: str, password: str, stable_id: str | None = None) -> bool:
        """Return True if this is the password of the user with this login. With `stable_id`, the
        user must also have that id. Raises `DirectoryUnavailable`.
        """
        ...


class JobVerifier(Protocol):
    """The interface that verifies tokens of CI jobs."""

    def verify(self, token: str, issuers: Sequence[Issuer]) -> VerifiedToken:
        """Verify a token that one of the issuers signed. Raises `TokenInvalid`,
        `IssuerUnavailable`.
        """
        ...


@dataclass(frozen=True, slots=True)
class ExternalVerifiers:
    """The other services that a sign-in may call."""

    directory: Callable[[LdapSettings], PasswordDirectory]
    verifier: JobVerifier


class SignIn:
    """Proves callers from their credentials. Every method may block. Safe from many threads.

    Each proof is an audit event, successful or not. `clock` gives seconds since the epoch. `remote`
    is the client's address.
    """

    def __init__(
        self,
        engine: Engine,
        bearers: Bearers,
        gate: Gate,
        elsewhere: ExternalVerifiers,
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
        """Return the caller with this name and secret: a password or a stored token.

        Raises `SignInFailed`, `TooManyTries`, `ServerBusy`, `DirectoryUnavailable`.
        """
        if tokens.is_token(secret):
            return self.token(secret, remote, user)
        return self.password(user, secret, remote)

    def token(self, text: str, remote: str, user: str | None = None) -> Caller:
        """Return the owner of a stored token. With `user`, the token must belong to that name.
        Raises `SignInFailed`.
        """
        prove = partial(self._prove_token, text, remote, user)
        return self._record("token", user or "", remote, prove)

    def password(self, user: str, password: str, origin: Origin | str) -> Caller:
        """Return the user with this name and password. `origin` may be an address alone.

        A password that was right in the last minute is not verified again. Raises as `basic`.
        """
        origin = Origin(origin) if isinstance(origin, str) else origin
        prove = partial(self._prove_password, user, password, origin)
        return self._record("password", user, origin.remote, prove)

    def refresh(self, text: str, remote: str) -> Caller:
        """Return the user to whom this refresh token was issued. Raises `TokenInvalid`."""
        return self._record("refresh", "", remote, partial(self._prove_refresh, text, remote))

    def job(self, text: str, wanted: Sequence[RepositoryName], remote: str) -> Caller:
        """Return a job, with the trusts of the `wanted` repositories that let it in.

        Raises `TokenInvalid` if no known issuer signed its token, and `IssuerUnavailable`.
        """
        return self._record("job", JOB_NAME, remote, partial(self._prove_job, text, wanted))

    def held_off_seconds(self, user: str, password: str, remote: str) -> int:
        """Return the seconds until this address may try the password; 0: now. Never waits.

        A password that was right within `PASSWORD_SECONDS` is never held off.
        """
        seconds = self._gate.held_seconds(fold(user), remote)
        if seconds == 0:
            return 0
        is_recent = self._recent(self._key(fold(user), password)) is not None
        return 0 if is_recent else seconds

    def known_browser(self, account: Account, origin: Origin) -> str:
        """Return a proof that the account used this browser. The account has just signed in."""
        browsers = self._gate.browsers
        old = origin.proofs.get(str(account.id), "")
        return browsers.issue(account, browsers.read(old, account))

    def _record(self, method: str, user: str, remote: str, prove: Callable[[], Caller]) -> Caller:
        """Return the caller that `prove` returns. Record the sign-in or its failure as an event."""
        try:
            caller = prove()
        except DtrfastError as error:
            outcome: Outcome = "failed" if isinstance(error, Unavailable) else "refused"
            self._add_event(
                fold(user), remote, outcome, {"method": method, "reason": error.message}
            )
            raise
        detail: Detail = {"method": method}
        if caller.token_id:
            detail["token"] = caller.token_id
        self._add_event(caller.actor, remote, "ok", detail)
        return caller

    def _add_event(self, actor: str, remote: str, outcome: Outcome, detail: Detail) -> None:
        event = Event(self._clock(), "sign-in", actor, remote, outcome, "", detail)
        self._events.add(event)

    # ---- tokens -------------------------------------------------------------------------------
    def _prove_token(self, text: str, remote: str, user: str | None) -> Caller:
        now = self._clock()
        with self._engine.read() as transaction:
            token = tokens.find(transaction, text)
            account = None if token is None else accounts.find_id(transaction, token.account_id)
            if token is None or account is None or not account.is_active:
                raise SignInFailed(TOKEN_UNKNOWN)
            if token.expires_at and token.expires_at <= now:
                raise SignInFailed("the token has expired: make a new one")
            is_use_due = tokens.is_use_due(transaction, token.id, now)
        is_robot = token.kind == "robot"
        caller = Caller(
            kind="robot" if is_robot else "user",
            actor=tokens.robot_name(account.name, token.name) if is_robot else account.name,
            method="token",
            account_id=account.id,
            generation=account.generation,
            token_id=token.id,
            expires_at=token.expires_at,
            has_scopes=bool(token.bounds),
        )
        if user is not None and fold(user) != caller.actor:
            raise SignInFailed(f"the token does not belong to {fold(user)[:80]!r}")
        if is_use_due:
            self._engine.write(partial(tokens.note_use, token=token, now=now, remote=remote))
        return caller

    def _prove_password(self, user: str, password: str, origin: Origin) -> Caller:
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
        """Return the caller if its password was right recently; else a try to verify now.

        Waits while as many tries run as may fail. Raises `TooManyTries`, `ServerBusy`.
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
        raise ServerBusy("too many clients are signing in: try again in a moment")

    def _enter_now(self, name: str, key: bytes, origin: Origin) -> Caller | Try | None:
        """See `_enter`, but return None instead of waiting. Raises `TooManyTries`."""
        recent = self._recent(key)
        account = None if recent is None else self._current(recent)
        if recent is not None and account is not None and account.name == recent.actor:
            return recent
        return self._gate.tries.enter(name, self._gate.source(name, origin))

    def _recent(self, key: bytes) -> Caller | None:
        """Return the caller whose password was right within `PASSWORD_SECONDS`."""
        kept = self._verified.get(key)
        if kept is None or self._clock() - kept[1] >= PASSWORD_SECONDS:
            return None
        return kept[0]

    def _prove_refresh(self, text: str, remote: str) -> Caller:
        caller = self._bearers.read_refresh(text)
        account = self._current(caller)
        if account is None:
            raise TokenInvalid("the sign-in has ended: sign in again")
        self._gate.know(caller.account_id, remote)
        return replace(caller, actor=account.name)

    def _prove_job(self, text: str, wanted: Sequence[RepositoryName]) -> Caller:
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
            job=JobIdentity(identity_of(issuer), identity_of(issuer, subject), claims),
            trusts=tuple((repository, trust.id) for repository, trust in found),
            expires_at=max(expires_at, self._clock() + 1),
        )

    # ---- passwords ----------------------------------------------------------------------------
    def _key(self, name: str, password: str) -> bytes:
        text = f"{name}\0{password}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._secret, digest_size=32).digest()

    def _current(self, caller: Caller) -> Account | None:
        """Return the account of a sign-in; None if the sign-in has ended. The account may have
        another name by now.
        """
        with self._engine.read() as transaction:
            account = accounts.find_id(transaction, caller.account_id)
        if account is None or not account.is_active or account.generation != caller.generation:
            return None
        return account

    def _verify(self, name: str, password: str) -> Account | None:
        """Return the active account with this name; None if the password is wrong.

        A missing account takes as long: the time must not show which names exist.
        """
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
        """Return True if the directory accepts the password.

        While the directory does not answer, use the hash of the last password that it accepted, for
        up to `outage_seconds`.
        """
        if not password:
            return False  # an LDAP server accepts an empty password as an anonymous bind
        now = self._clock()
        try:
            directory = self._elsewhere.directory(ldap)
            # Another user may have this login now, before a synchronization brings that user here.
            right = directory.verify(account.name, password, account.directory_id)
        except DirectoryUnavailable:
            if kept is None or now - kept.at > ldap.outage_seconds:
                raise
            return passwords.verify(kept.hash, password)
        # The hash serves during an outage. A kept one that is younger than half of `outage_seconds`
        # stays.
        is_recent = kept is not None and now - kept.at < ldap.outage_seconds / 2
        if not right or is_recent:
            return right
        try:
            password_hash = passwords.hash_password(password)
        except ServerBusy:
            return True  # the sign-in succeeds without it; the next sign-in keeps the hash
        keep = partial(
            accounts.remember_password, account=account, password_hash=password_hash, now=now
        )
        self._engine.write(keep)
        return True


def first_admin(engine: Engine, author: Author) -> str | None:
    """Create the account `admin` if no account exists. Return its password, else None."""
    with engine.read() as transaction:
        if any(True for _ in accounts.scan(transaction)):
            return None
    password = passwords.make_random()
    password_hash = passwords.hash_password(password)
    made = engine.write(partial(accounts.create_first, author=author, password_hash=password_hash))
    return password if made else None
