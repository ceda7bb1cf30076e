"""An operation of the management API: a function, and what there is to say about it.

The same record routes a request, checks what it brings, and describes the operation in the OpenAPI
document, so the three cannot differ. Operations are synchronous and run on a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec

from dtrfast.config import Config
from dtrfast.errors import Denied, SignInRequired, TokenInvalid
from dtrfast.identity import access, accounts
from dtrfast.identity.access import CallerPermits, Standing
from dtrfast.identity.callers import Caller
from dtrfast.identity.events import Detail, Event, Outcome
from dtrfast.identity.gate import Origin
from dtrfast.identity.identity import Identity
from dtrfast.identity.records import Account
from dtrfast.index.engine import ReadTransaction
from dtrfast.registry.ownership import Ownership
from dtrfast.registry.registry import Registry
from dtrfast.registry.writing import Author
from dtrfast.store.report import StoreReport

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
# The callers that may ask an operation, each with those before it: users with a password, a session
# or a token without scopes; also bounded credentials (robots, jobs, tokens with scopes, access
# tokens); also callers without a sign-in.
Audience = Literal["users", "bounded", "everyone"]


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request. `path` are the pieces in the path, decoded; `body` and `query` are converted."""

    identity: Identity
    registry: Registry
    store: StoreReport  # for administrators
    config: Config
    caller: Caller
    remote: str
    path: dict[str, str]
    query: Any
    body: Any
    # What the answer says besides its body.
    headers: dict[str, str] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)
    is_secure: bool = False
    session_id: str = ""
    # Proofs of accounts that signed in with this browser, by account id.
    proofs: Mapping[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> Origin:
        """The origin of a password that the call brings."""
        return Origin(self.remote, self.proofs)

    @property
    def permits(self) -> CallerPermits:
        return CallerPermits(self.caller)

    @property
    def author(self) -> Author:
        return Author(self.caller.actor, self.identity.clock())

    def standing(self, transaction: ReadTransaction) -> Standing:
        """Raises `SignInRequired` for nobody, `TokenInvalid`, `Denied` for a bounded token."""
        if self.caller.kind == "anonymous":
            raise SignInRequired("sign in to do this")
        if self.caller.is_bounded:
            raise Denied("this token is for repositories: use one without scopes, or a password")
        return access.standing(transaction, self.caller)

    @property
    def is_user(self) -> bool:
        """False for callers without a sign-in, and for bounded credentials."""
        return self.caller.kind != "anonymous" and not self.caller.is_bounded

    def shown_name(self, actor: str) -> str:
        """The name of an account as the caller sees it: names are for callers with a sign-in."""
        return "" if self.caller.kind == "anonymous" else actor

    def is_admin(self, transaction: ReadTransaction) -> bool:
        """True for a system administrator, but not with a bounded credential of one."""
        return access.standing(transaction, self.caller).is_admin

    def require_admin(self, transaction: ReadTransaction) -> Standing:
        """Raises `Denied` for everybody but system administrators."""
        standing = self.standing(transaction)
        if not standing.is_admin:
            raise Denied("only a system administrator may do this")
        return standing

    def require_self(self, transaction: ReadTransaction, user: Account) -> Standing:
        """Raises `Denied` for everybody but this user and system administrators."""
        standing = self.standing(transaction)
        if not standing.is_admin and standing.account_id != user.id:
            raise Denied(f"only {user.name} and system administrators may do this")
        return standing

    def require_owner(self, transaction: ReadTransaction, organization: Account) -> Standing:
        """Raises `Denied` for everybody but owners and system administrators."""
        standing = self.standing(transaction)
        if not standing.is_admin and organization.id not in standing.owned:
            raise Denied(f"only owners of {organization.name} may do this")
        return standing

    def account(self, transaction: ReadTransaction, piece: str = "name") -> Account:
        """The account in the path. Raises `AccountUnknown`."""
        return accounts.get(transaction, self.path[piece])

    def note(
        self,
        kind: str,
        subject: str,
        outcome: Outcome = "ok",
        detail: Detail | None = None,
        about: Ownership | None = None,
        *,
        by_admin: bool = False,
    ) -> None:
        """Keep an audit event of this caller. `about`: the repository, if it is not there any more;
        `by_admin`: whatever the caller is by now.
        """
        about = about or self._about(kind, subject)
        event = Event(
            time=self.identity.clock(),
            kind=kind,
            actor=self.caller.actor,
            remote=self.remote,
            outcome=outcome,
            subject=subject,
            detail=detail or {},
            repository=about.repository,
            owner=about.owner,
        )
        self.identity.events.add(event, by_admin=by_admin or self._is_admin())

    def _is_admin(self) -> bool:
        """Return whether the caller administers the system, as far as that can still be told."""
        if self.caller.kind not in ("user", "system"):
            return False
        try:
            with self.identity.engine.read() as transaction:
                return access.standing(transaction, self.caller).is_admin
        except TokenInvalid:
            return False  # the change was about the caller's own account

    def _about(self, kind: str, subject: str) -> Ownership:
        """The repository that the subject names, where it names one: teams have such names too."""
        if "repository" not in self.path and not kind.startswith("repository."):
            return Ownership()
        return self.registry.ownership(subject)


Handler = Callable[[ApiCall], msgspec.Struct | None]
H = TypeVar("H", bound=Handler)


@dataclass(frozen=True, slots=True)
class Operation:
    """A handler and its description. `answer` is None where there is no content."""

    method: Method
    path: str
    handler: Handler
    summary: str
    tag: str
    status: int
    answer: type | None
    body: type | None
    query: type | None
    refusals: tuple[int, ...]
    audience: Audience = "users"
    # What looks at a call before anything is done, and raises what the operation would.
    check: Callable[[ApiCall], object] | None = None

    @property
    def id(self) -> str:
        return self.handler.__name__

    def admits(self, caller: Caller) -> bool:
        """Return if the caller belongs to the audience."""
        if self.audience == "everyone":
            return True
        return caller.kind != "anonymous" and (self.audience == "bounded" or not caller.is_bounded)

    def run(self, call: ApiCall) -> msgspec.Struct | None:
        """Do it, if the caller belongs to the audience. The one way to the handler.

        Raises `SignInRequired`, `TokenInvalid`, `Denied`, and what the handler does.
        """
        if not self.admits(call.caller):
            with call.identity.engine.read() as transaction:
                access.hold(transaction, call.caller)  # a credential that ended is told so
                call.standing(transaction)
            raise Denied(
                "this credential may not do this: use a password, or a token without scopes"
            )
        return self.handler(call)


class Operations:
    """The operations of one part of the API, as a decorator that collects them."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self.all: list[Operation] = []

    def add(  # noqa: PLR0913 - what there is to say about an operation
        self,
        method: Method,
        path: str,
        *,
        answer: type | None = None,
        status: int | None = None,
        body: type | None = None,
        query: type | None = None,
        refusals: Sequence[int] = (),
        audience: Audience = "users",
        check: Callable[[ApiCall], object] | None = None,
    ) -> Callable[[H], H]:
        """The first line of the handler's docstring says what it does. Only users may ask it,
        unless `audience` says more: a new operation is refused to bounded credentials.
        """

        def register(handler: H) -> H:
            assert handler.__doc__ is not None
            done = status or (204 if answer is None else 200)
            summary = handler.__doc__.strip().splitlines()[0].rstrip(".")
            self.all.append(
                Operation(
                    method,
                    path,
                    handler,
                    summary,
                    self._tag,
                    done,
                    answer,
                    body,
                    query,
                    tuple(refusals),
                    audience,
                    check,
                )
            )
            return handler

        return register
