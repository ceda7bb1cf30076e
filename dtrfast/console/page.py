"""A browser's request for a page, and its way to the operations of the management API.

A page gets everything from operations, called as the user of the session. So it shows nothing that
the API does not show that user, and no rule about access is repeated here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from dtrfast.api.v0.execution import convert_body, convert_query, execute
from dtrfast.api.v0.operation import ApiClient, Operation
from dtrfast.api.v0.router import OPERATIONS
from dtrfast.errors import AccessRefused, DtrfastError, NotFound
from dtrfast.identity.callers import Caller

Answer = TypeVar("Answer", bound="msgspec.Struct | None")

# Rows of a list on one page: two or three screens.
PAGE_SIZE = 50

_BY_HANDLER: dict[object, Operation] = {o.handler: o for o in OPERATIONS}
BY_ID: dict[str, Operation] = {o.id: o for o in OPERATIONS}


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A request of a browser, as page functions get it.

    `path` and `query` are decoded. `query` has the last value of each name; `lists` has all values.
    `form` has all values of each field, in the order of the form. `external` is the origin where
    browsers reach this registry (`https://host`). `is_form`: the request sends a form.
    `is_fragment`: the request is for a part of a page, by a script; `address` is that page's.
    """

    client: ApiClient
    url: str
    external: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, list[str]] = field(default_factory=dict)
    form: Mapping[str, list[str]] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    csrf_token: str = ""
    is_form: bool = False
    is_fragment: bool = False
    address: str = ""

    @property
    def caller(self) -> Caller:
        return self.client.caller

    @property
    def is_signed_in(self) -> bool:
        return self.caller.kind != "anonymous"

    @property
    def host(self) -> str:
        """The host that image names begin with."""
        return self.external.partition("://")[2]

    def ask(
        self,
        handler: Callable[..., Answer],
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        **path: Any,
    ) -> Answer:
        """Return the answer of an operation. Raises the errors of the operation."""
        operation = _BY_HANDLER[handler]
        given = {name: str(value) for name, value in (query or {}).items()}
        call = self.client.call(
            path, convert_query(operation, given), convert_body(operation, body)
        )
        return execute(operation, call)  # type: ignore[return-value]

    def find(
        self,
        handler: Callable[..., Answer],
        *,
        query: Mapping[str, object] | None = None,
        **path: Any,
    ) -> Answer | None:
        """Return the answer of an operation; None if the object does not exist."""
        try:
            return self.ask(handler, query=query, **path)
        except NotFound:
            return None

    def glance(
        self,
        handler: Callable[..., Answer],
        *,
        query: Mapping[str, object] | None = None,
        **path: Any,
    ) -> Answer | None:
        """Return the answer of an operation; None if it fails, for optional parts of a page.

        A refusal leaves no audit event: the page only finds out what it may show.
        """
        operation = _BY_HANDLER[handler]
        given = {name: str(value) for name, value in (query or {}).items()}
        try:
            call = self.client.call(path, convert_query(operation, given), None)
            return operation.run(call)  # type: ignore[return-value]
        except DtrfastError:
            return None

    def refused(self, message: str, subject: str = "") -> AccessRefused:
        """Return an error to raise, and write an audit event of the refusal."""
        error = AccessRefused(message)
        self.client.note_refusal("GET", self.url.partition("?")[0], error, subject)
        return error

    def listing(self, sort: str = "name", of: str = "") -> ListState:
        """Return the state of a list on this page.

        `sort` is its order, unless the address gives another. `of` is a prefix in the address for
        pages with several lists.
        """
        return ListState(self, of, self.query.get(f"{of}sort") or sort)

    def with_query(self, **changes: object) -> str:
        """Return this address with changes of its query; None and empty values are left out."""
        merged = {**self.query, **{name: str(v or "") for name, v in changes.items()}}
        text = urlencode({name: value for name, value in merged.items() if value})
        path = self.url.partition("?")[0]
        return f"{path}?{text}" if text else path


@dataclass(frozen=True, slots=True)
class ListState:
    """The state of a list on a page: filter, order and start, as the address gives them."""

    page: PageRequest
    of: str
    sort: str

    @property
    def filter(self) -> str:
        return self.page.query.get(f"{self.of}filter", "").strip()

    @property
    def start(self) -> str:
        return self.page.query.get(f"{self.of}start", "")

    def query(self, limit: int = PAGE_SIZE) -> dict[str, object]:
        """Return the query for the list's operation."""
        return {"limit": limit, "start": self.start, "filter": self.filter, "sort": self.sort}

    def url(self, **changes: object) -> str:
        """Return the address of the page with another order, filter or start of this list."""
        return self.page.with_query(**{f"{self.of}{name}": v for name, v in changes.items()})

    @property
    def others(self) -> list[tuple[str, str]]:
        """The address's other names and values, which the filter's form keeps."""
        own = (f"{self.of}filter", f"{self.of}start")
        return [(name, value) for name, value in self.page.query.items() if name not in own]


@dataclass(frozen=True, slots=True)
class View:
    """The result of a page function: a template with its values, an address, or a file."""

    template: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    location: str = ""
    cookies: tuple[str, ...] = ()
    content: bytes = b""
    media_type: str = ""
    file_name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


PageFunction = Callable[[PageRequest], View]
