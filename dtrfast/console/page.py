"""One request of a browser: who sits there, what was asked for, and the way to the operations.

A page asks operations of the management API and nothing else, as the caller of the session. So it
shows nothing that the API does not, and no rule stands twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from dtrfast.api.v0.asking import Asker, convert_body, convert_query, execute
from dtrfast.api.v0.operation import ApiCall, Operation
from dtrfast.api.v0.router import OPERATIONS
from dtrfast.errors import Denied, DtrfastError, NotFound
from dtrfast.identity.callers import Caller

Answer = TypeVar("Answer", bound="msgspec.Struct | None")

# Rows of a list: two or three screens.
PAGE_SIZE = 50

_BY_HANDLER: dict[object, Operation] = {o.handler: o for o in OPERATIONS}
BY_ID: dict[str, Operation] = {o.id: o for o in OPERATIONS}


@dataclass(frozen=True, slots=True)
class Page:
    """What a page function is given. `path` and `query` are decoded, `lists` has all values of each
    name in the query, `form` those of each field, in order; `external` is where browsers reach this
    registry (`https://host`).
    """

    asker: Asker
    url: str
    external: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, list[str]] = field(default_factory=dict)
    form: Mapping[str, list[str]] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    csrf_token: str = ""
    is_fragment: bool = False

    @property
    def caller(self) -> Caller:
        return self.asker.caller

    @property
    def is_signed_in(self) -> bool:
        return self.caller.kind != "anonymous"

    @property
    def host(self) -> str:
        """What image names begin with."""
        return self.external.partition("://")[2]

    def ask(
        self,
        handler: Callable[[ApiCall], Answer],
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        **path: Any,
    ) -> Answer:
        """What an operation answers. Raises what it raises."""
        operation = _BY_HANDLER[handler]
        given = {name: str(value) for name, value in (query or {}).items()}
        call = self.asker.call(path, convert_query(operation, given), convert_body(operation, body))
        return execute(operation, call)  # type: ignore[return-value]

    def find(
        self,
        handler: Callable[[ApiCall], Answer],
        *,
        query: Mapping[str, object] | None = None,
        **path: Any,
    ) -> Answer | None:
        """What an operation answers; None where there is no such thing."""
        try:
            return self.ask(handler, query=query, **path)
        except NotFound:
            return None

    def glance(
        self,
        handler: Callable[[ApiCall], Answer],
        *,
        query: Mapping[str, object] | None = None,
        **path: Any,
    ) -> Answer | None:
        """What an operation answers; None where it does not, for what a page can do without.

        A page that merely asks what may be shown leaves no audit event of a refusal.
        """
        operation = _BY_HANDLER[handler]
        given = {name: str(value) for name, value in (query or {}).items()}
        try:
            call = self.asker.call(path, convert_query(operation, given), None)
            return operation.run(call)  # type: ignore[return-value]
        except DtrfastError:
            return None

    def refused(self, message: str, subject: str = "") -> Denied:
        """An error to raise, which leaves an audit event, as refusals of operations do."""
        error = Denied(message)
        self.asker.note_refusal("GET", self.url.partition("?")[0], error, subject)
        return error

    def listing(self, sort: str = "name", of: str = "") -> Listing:
        """A list of this page. `sort` is its order unless the address says another; `of` tells it
        from other lists on the page.
        """
        return Listing(self, of, self.query.get(f"{of}sort") or sort)

    def with_query(self, **changes: object) -> str:
        """This address with another query; None and empty values are left out."""
        merged = {**self.query, **{name: str(v or "") for name, v in changes.items()}}
        text = urlencode({name: value for name, value in merged.items() if value})
        path = self.url.partition("?")[0]
        return f"{path}?{text}" if text else path


@dataclass(frozen=True, slots=True)
class Listing:
    """A list as the address says: what passes, in what order, and which page of it."""

    page: Page
    of: str
    sort: str

    @property
    def filter(self) -> str:
        return self.page.query.get(f"{self.of}filter", "").strip()

    @property
    def start(self) -> str:
        return self.page.query.get(f"{self.of}start", "")

    def query(self, limit: int = PAGE_SIZE) -> dict[str, object]:
        """What the list's operation is asked with."""
        return {"limit": limit, "start": self.start, "filter": self.filter, "sort": self.sort}

    def url(self, **changes: object) -> str:
        """The page with another order, filter or place of this list."""
        return self.page.with_query(**{f"{self.of}{name}": v for name, v in changes.items()})

    @property
    def others(self) -> list[tuple[str, str]]:
        """What else is in the address, which a filter keeps."""
        own = (f"{self.of}filter", f"{self.of}start")
        return [(name, value) for name, value in self.page.query.items() if name not in own]


@dataclass(frozen=True, slots=True)
class View:
    """What a page function returns: a template with its values, or where to go."""

    template: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    location: str = ""
    cookies: tuple[str, ...] = ()
    content: bytes = b""
    media_type: str = ""
    file_name: str = ""


PageFunction = Callable[[Page], View]
