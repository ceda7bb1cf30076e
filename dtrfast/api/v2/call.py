"""A request to `/v2/`, taken apart."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, TypeVar

from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Receive, Scope

from dtrfast.api import challenge
from dtrfast.api.events import Noting
from dtrfast.api.types import Context
from dtrfast.errors import SignInRequired, SizeInvalid
from dtrfast.identity.events import Detail, Outcome
from dtrfast.identity.guard import Visit
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.registry import Registry

T = TypeVar("T")

_DIGITS_MAX = 19


@dataclass(frozen=True)
class Call:
    """One request. `name` is empty text where the endpoint has none; `reference` is a path's last
    piece: a tag, a digest or the id of an upload, not looked at yet.
    """

    context: Context
    visit: Visit
    scope: Scope
    receive: Receive
    reference: str = ""
    name_text: str = ""

    @cached_property
    def name(self) -> RepositoryName:
        """Raises `NameInvalid`."""
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
        """The announced length of the body; None when nothing was announced."""
        text = self.headers.get("content-length")
        if text is None or "transfer-encoding" in self.headers:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
            raise SizeInvalid("Content-Length is not a length")
        return int(text)

    def path(self, *pieces: str) -> str:
        """The path of something in this repository, as clients see it."""
        prefix = self.scope.get("root_path", "")
        return "/".join((f"{prefix}/v2", self.name.text, *pieces))

    def url(self, *pieces: str) -> str:
        """`path`, as an address with scheme and host."""
        return challenge.external_url(self.context, self.scope) + self.path(*pieces)

    def require_token(self) -> None:
        """Have who says nothing about itself ask for a token; an anonymous one will do.

        Clients that could sign in do not, unless they are asked to. Raises `SignInRequired`.
        """
        if self.context.guard.challenges and self.visit.caller.method == "none":
            raise SignInRequired("sign in, or ask for a token without a name")

    def note(self, kind: str, detail: Detail, outcome: Outcome = "ok") -> None:
        """An audit event of this caller, about this repository."""
        noting = Noting(self.context, self.scope, self.visit.caller.actor)
        about = self.registry.ownership(self.name_text)
        noting.note(kind, outcome, self.name_text, detail, about)

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Call `function` on a thread."""
        return await self.context.hop.run(function, *args)


Endpoint: TypeAlias = Callable[[Call], Coroutine[None, None, ASGIApp]]
