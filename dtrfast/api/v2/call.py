"""A parsed request to `/v2/`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, TypeVar

from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Receive, Scope

from dtrfast.api import challenge
from dtrfast.api.types import ApiContext
from dtrfast.api.visits import remote_of
from dtrfast.errors import SignInRequired, SizeInvalid
from dtrfast.identity.events import Detail, Outcome
from dtrfast.identity.guard import Visit
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.registry import Registry

T = TypeVar("T")

_DIGITS_MAX = 19


@dataclass(frozen=True)
class Call:
    """One request. `name_text` is the repository's name, empty at endpoints without one.
    `reference` is the last piece of the path: a tag, a digest or the id of an upload, not parsed
    yet.
    """

    context: ApiContext
    visit: Visit
    scope: Scope
    receive: Receive
    reference: str = ""
    name_text: str = ""

    @cached_property
    def name(self) -> RepositoryName:
        """The repository's name. Raises `NameInvalid`."""
        return RepositoryName.parse(self.name_text)

    @cached_property
    def headers(self) -> Headers:
        return Headers(scope=self.scope)

    @cached_property
    def query(self) -> QueryParams:
        return QueryParams(self.scope["query_string"])

    @property
    def registry(self) -> Registry:
        """The registry as the caller may use it."""
        return self.visit.registry

    @property
    def is_head(self) -> bool:
        return bool(self.scope["method"] == "HEAD")

    @property
    def content_length(self) -> int | None:
        """The announced length of the body in bytes; None if none was announced. Raises
        `SizeInvalid`.
        """
        text = self.headers.get("content-length")
        if text is None or "transfer-encoding" in self.headers:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
            raise SizeInvalid("Content-Length is not a number of bytes")
        return int(text)

    def path(self, *pieces: str) -> str:
        """Return the path of a thing in this repository, as clients see it."""
        prefix = self.scope.get("root_path", "")
        return "/".join((f"{prefix}/v2", self.name.text, *pieces))

    def url(self, *pieces: str) -> str:
        """Return the URL of a thing in this repository, with scheme and host."""
        return challenge.external_url(self.context, self.scope) + self.path(*pieces)

    def require_token(self) -> None:
        """Raise `SignInRequired` for a caller without any credential; an anonymous token is enough.

        Clients that could sign in do so only when the answer demands it.
        """
        if self.context.guard.challenges and self.visit.caller.method == "none":
            raise SignInRequired("sign in, or request an anonymous token")

    def note(self, kind: str, detail: Detail, outcome: Outcome = "ok") -> None:
        """Write an audit event of this caller, about this repository."""
        about = self.registry.ownership(self.name_text)
        if self.context.identity is not None:
            remote = remote_of(self.scope)
            trail = self.context.identity.audit_trail(self.visit.caller.actor, remote)
            trail.note(kind, self.name_text, outcome, detail, about)

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Call `function` on a thread and return its result."""
        return await self.context.hop.run(function, *args)


Endpoint: TypeAlias = Callable[[Call], Coroutine[None, None, ASGIApp]]
