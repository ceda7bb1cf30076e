"""An operation of the management API: a function and its description.

The same record routes a request, checks its query and body, and describes the operation in the
OpenAPI document, so the three cannot differ. Operations are synchronous and run on a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Literal, TypeVar, get_type_hints

import msgspec

from dtrfast.config import Config
from dtrfast.errors import AccessRefused, DtrfastError, NameInvalid, RepositoryUnknown
from dtrfast.identity.caller_permits import CallerPermits
from dtrfast.identity.callers import Caller
from dtrfast.identity.checks import Checks
from dtrfast.identity.events import Detail
from dtrfast.identity.gate import Origin
from dtrfast.identity.guard import Visit
from dtrfast.identity.identity import Identity
from dtrfast.identity.use_case import UseCase
from dtrfast.oci.names import ROOT, RepositoryName
from dtrfast.registry.ownership import NO_REPOSITORY, Ownership
from dtrfast.registry.registry import Registry
from dtrfast.store.report import StoreReport

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
# The callers of an operation, each kind with those before it:
# * users with a password, a session or a token without scopes,
# * bounded credentials: robots, jobs, tokens with scopes, access tokens,
# * callers without a sign-in.
Audience = Literal["users", "bounded", "everyone"]
U = TypeVar("U", bound=UseCase)
REPOSITORY = "/repositories/{namespace}/{repository}"


@dataclass(frozen=True, slots=True)
class ApiClient:
    """A client of the operations: a request to the API, or a page of the console.

    `visit` is one of an `AccountsGuard`, and `remote` the client's address. `session_id` is empty
    without a session of a browser. `proofs` are those of accounts that signed in with this browser,
    by account id.
    """

    identity: Identity
    visit: Visit
    store: StoreReport  # for administrators
    config: Config
    remote: str
    is_secure: bool = False
    session_id: str = ""
    proofs: Mapping[str, str] = field(default_factory=dict)

    @property
    def caller(self) -> Caller:
        return self.visit.caller

    def call(self, path: Mapping[str, str], query: object, body: object) -> ApiCall:
        """Return the call of an operation. `path` has the variable pieces of the operation's path,
        decoded; `query` and `body` are converted to the operation's types.
        """
        parts = {name: getattr(self, name) for name in ApiClient.__slots__}
        return ApiCall(**parts, path=dict(path), query=query, body=body)

    def note_refusal(self, method: str, path: str, error: DtrfastError, subject: str = "") -> None:
        """Write an audit event of a refusal. `subject` is `path` unless it is given."""
        detail: Detail = {"method": method, "path": path, "reason": error.reason}
        about = self.visit.registry.ownership(subject) if subject else NO_REPOSITORY
        trail = self.identity.audit_trail(self.caller.actor, self.remote)
        trail.note("refusal", subject or path, "refused", detail, about)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall(ApiClient):
    """One call of an operation: the client and its request. `cookies` are set by the answer."""

    path: dict[str, str]
    query: Any
    body: Any
    cookies: list[str] = field(default_factory=list)

    @property
    def registry(self) -> Registry:
        """The registry as the caller may use it."""
        return self.visit.registry

    @property
    def permits(self) -> CallerPermits:
        """The caller's permits."""
        permits = self.visit.registry.permits
        assert isinstance(permits, CallerPermits)
        return permits

    @property
    def repository(self) -> RepositoryName:
        """The repository in the path; a name may have encoded slashes. Raises `RepositoryUnknown`
        for a name that no repository can have.
        """
        try:
            return RepositoryName.parse(full_name(self.path))
        except NameInvalid as error:
            raise RepositoryUnknown(error.message) from error

    @property
    def origin(self) -> Origin:
        """The origin of a password in the call."""
        return Origin(self.remote, self.proofs)

    def use(self, kind: type[U]) -> U:
        """Return the use cases of one kind, for this caller."""
        return kind(self.identity.engine, self.permits, self.identity.clock)

    def shown_name(self, actor: str) -> str:
        """Return the name of an account as the caller sees it: only signed-in callers see names."""
        return "" if self.caller.kind == "anonymous" else actor

    def note(
        self,
        kind: str,
        subject: str,
        detail: Detail | None = None,
        about: Ownership | None = None,
        *,
        by_admin: bool = False,
    ) -> None:
        """Write an audit event of this caller.

        `about` is the repository, if its name no longer tells its id. `by_admin`: the caller was an
        administrator when the operation ran, and may no longer be one.
        """
        if about is None:
            # Teams have names of two parts, too.
            is_repository = "repository" in self.path or kind.startswith("repository.")
            about = self.registry.ownership(subject) if is_repository else NO_REPOSITORY
        by_admin = by_admin or self.use(Checks).was_admin()
        trail = self.identity.audit_trail(self.caller.actor, self.remote)
        trail.note(kind, subject, "ok", detail, about, by_admin=by_admin)


def full_name(path: Mapping[str, str]) -> str:
    """Return the name of the repository in the variable pieces of a path."""
    namespace, name = path["namespace"], path["repository"]
    return name if namespace == ROOT else f"{namespace}/{name}"


Handler = Callable[..., msgspec.Struct | None]
H = TypeVar("H", bound=Handler)


@dataclass(frozen=True, slots=True)
class Operation:
    """A handler and its description. `answer` is None for an operation without content.

    `check` tests a call before the console asks for a confirmation. It changes nothing, and raises
    what the handler would.
    """

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
    check: Callable[[ApiCall], object] | None = None

    @property
    def id(self) -> str:
        return self.handler.__name__

    def admits(self, caller: Caller) -> bool:
        """Return True if the caller belongs to the audience."""
        if self.audience == "everyone":
            return True
        return caller.kind != "anonymous" and (self.audience == "bounded" or not caller.is_bounded)

    def run(self, call: ApiCall) -> msgspec.Struct | None:
        """Run the handler if the caller belongs to the audience.

        Raises `SignInRequired`, `TokenInvalid`, `AccessRefused`, and the errors of the handler.
        """
        if not self.admits(call.caller):
            call.use(Checks).require_user()
            raise AccessRefused(
                "this credential may not do this: use a password, or a token without scopes"
            )
        arguments = {}
        if self.query is not None:
            arguments["query"] = call.query
        if self.body is not None:
            arguments["body"] = call.body
        return self.handler(call, **arguments)


class Operations:
    """The operations of one part of the API, as a decorator that collects them."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self.all: list[Operation] = []

    def add(
        self,
        method: Method,
        path: str,
        *,
        status: int | None = None,
        refusals: Sequence[int] = (),
        audience: Audience = "users",
        check: Callable[[ApiCall], object] | None = None,
    ) -> Callable[[H], H]:
        """Register a handler as an operation.

        The handler's annotations give the types of the answer, of `query` and of `body`. The first
        line of its docstring is the summary. `status` is that of success: 200 by default, or 204
        without an answer. `refusals` are error statuses of this operation, besides 404 for a path
        with a variable piece. By default bounded credentials may not call an operation.
        """

        def register(handler: H) -> H:
            assert handler.__doc__ is not None
            types = get_type_hints(handler)
            answer = None if types["return"] is NoneType else types["return"]
            operation = Operation(
                method=method,
                path=path,
                handler=handler,
                summary=handler.__doc__.strip().splitlines()[0].rstrip("."),
                tag=self._tag,
                status=status or (204 if answer is None else 200),
                answer=answer,
                body=types.get("body"),
                query=types.get("query"),
                refusals=(404, *refusals) if "{" in path else tuple(refusals),
                audience=audience,
                check=check,
            )
            self.all.append(operation)
            return handler

        return register
