"""The client of the management API that commands use: on a data directory, or over HTTP.

For a data directory the application runs in this process, on the same index as a server that may be
running. A user who can open the data directory is an administrator.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import httpx
from cyclopts import Parameter

from dtrfast.api.app import create_app
from dtrfast.api.types import ApiContext
from dtrfast.api.visits import VISIT
from dtrfast.assembly import open_store
from dtrfast.cli.command_events import REMOTE
from dtrfast.config import Config, load
from dtrfast.errors import DtrfastError, StartRefused
from dtrfast.identity.callers import SYSTEM
from dtrfast.identity.events import EventWriter
from dtrfast.identity.identity import Identity
from dtrfast.identity.tries import Tries
from dtrfast.machine.paths import Layout
from dtrfast.registry.registry import Registry
from dtrfast.server.asgi import App, Receive, Scope, Send
from dtrfast.store.store import Store

T = TypeVar("T")

_PREFIX = "/api/v0"
# A synchronization with an LDAP directory of many users takes minutes.
_TIMEOUT_SECONDS = 600.0
_LOOK_SECONDS = 20.0
_PAGE_SIZE = "1000"


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """Options that select a registry."""

    url: Annotated[
        str | None, Parameter(help="The registry's address, such as https://registry.example.")
    ] = None
    token_file: Annotated[
        Path | None, Parameter(help="A file with a personal token (else DTRFAST_TOKEN).")
    ] = None
    ca_file: Annotated[
        Path | None, Parameter(help="Certificate authorities to trust, a PEM file.")
    ] = None
    config: Annotated[
        Path | None, Parameter(help="The settings, a TOML file (else DTRFAST_CONFIG).")
    ] = None
    data: Annotated[
        str | None, Parameter(help="The data directory to use without --url (./data).")
    ] = None
    json: Annotated[bool, Parameter(help="Print the API's answer as JSON.", negative="")] = False


HERE = RegistryOptions()


class ApiRefused(DtrfastError):
    """The registry refused a request, or does not answer. The message is the registry's own."""


class Api:
    """The management API of one registry."""

    def __init__(self, send: Callable[[httpx.Request], httpx.Response], base_url: str) -> None:
        self._send = send
        self._base_url = base_url.rstrip("/") + _PREFIX

    def call(
        self,
        method: str,
        *pieces: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """Call an operation and return its answer. `pieces` of the path may contain slashes. Raises
        `ApiRefused`.
        """
        path = "/".join(quote(piece, safe="") for piece in pieces)
        url = f"{self._base_url}/{path}"
        response = self._send(httpx.Request(method, url, params=query, json=body))
        if response.is_success:
            return response.json() if response.content else None
        raise ApiRefused(_message(response))

    def pages(self, key: str, *pieces: str, query: Mapping[str, str] | None = None) -> list[Any]:
        """Return all entries of a list that comes in pages. `key` is the field with the entries."""
        entries: list[Any] = []
        start = ""
        while True:
            page = self.call(
                "GET", *pieces, query={**(query or {}), "limit": _PAGE_SIZE, "start": start}
            )
            entries += page[key]
            start = page.get("nextPageStart", "")
            if not start:
                return entries


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["errors"][0]["message"])
    except (ValueError, LookupError, TypeError):
        return f"{response.request.url} answered with the status {response.status_code}"


@contextmanager
def connect(where: RegistryOptions) -> Iterator[Api]:
    """Open the API of the registry that the options select."""
    if where.url:
        with _remote(where, where.url) as api:
            yield api
    else:
        with _local(load(where.config, os.environ, {"store.data": where.data})) as api:
            yield api


@contextmanager
def _remote(where: RegistryOptions, url: str) -> Iterator[Api]:
    token = os.environ.get("DTRFAST_TOKEN", "")
    path = where.token_file
    if path is not None:
        try:
            token = path.read_text(encoding="ascii").strip()
        except OSError as error:
            raise StartRefused(f"{path} cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise StartRefused(
                f"{path} does not contain a token: write one line into it"
            ) from error
    verify = _authorities(where.ca_file) if where.ca_file else True
    if not token:
        raise _refusal_without_token(url, verify)
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(verify=verify, timeout=_TIMEOUT_SECONDS, headers=headers) as client:

        def send(request: httpx.Request) -> httpx.Response:
            request.headers.update(headers)
            try:
                return client.send(request)
            except httpx.HTTPError as error:
                raise ApiRefused(f"{url} does not answer: {error}") from error

        yield Api(send, url)


def _refusal_without_token(url: str, verify: ssl.SSLContext | bool) -> DtrfastError:
    """Return the error for a user without a token. A registry without accounts explains that the
    API is off.
    """
    try:
        answer = httpx.get(url.rstrip("/") + _PREFIX, verify=verify, timeout=_LOOK_SECONDS)
    except httpx.HTTPError as error:
        return ApiRefused(f"{url} does not answer: {error}")
    message = _message(answer)
    if answer.status_code == 404 and message.startswith("accounts are off"):
        return ApiRefused(message)
    return StartRefused("give a token: --token-file FILE, or DTRFAST_TOKEN")


class _CallingThread:
    """Runs functions on the calling thread, which may wait for them."""

    async def run(self, function: Callable[..., T], *args: object) -> T:
        return function(*args)


def _authorities(path: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # also ssl.SSLError, for a file that is not PEM
        raise StartRefused(
            f"{path} is not a PEM file of certificate authorities ({error.strerror or error})"
        ) from error


@contextmanager
def _local(config: Config) -> Iterator[Api]:
    data = config.store.data
    if not os.access(Layout(data).format, os.R_OK | os.W_OK):
        raise StartRefused(
            f"{data} is not a data directory that you may open: name one with --data, or a registry"
            " with --url"
        )
    store = open_store(config, may_upgrade=False)
    events = EventWriter(Layout(data).audit, config.log.audit_size_max)
    try:
        app = _application(config, store, events)

        async def exchange(request: httpx.Request) -> httpx.Response:
            transport = httpx.ASGITransport(app, client=(REMOTE, 0))
            async with httpx.AsyncClient(transport=transport) as client:
                return await client.send(request)

        yield Api(lambda request: asyncio.run(exchange(request)), "http://localhost")
    finally:
        events.close()
        store.close()


def _application(config: Config, store: Store, events: EventWriter) -> App:
    """Return the application, which answers as to the system's own account."""
    registry = Registry(store.engine, store.blobs, config)
    tries = Tries.open(Layout(config.store.data).tries, time.time)
    identity = Identity.open(
        store.engine, registry, config, lambda: int(time.time()), tries, events
    )
    app = create_app(
        ApiContext(registry, _CallingThread(), config, identity.guard, store.report, identity)
    )
    visit = identity.guard.visit(SYSTEM)

    async def as_system(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {VISIT: visit}}, receive, send)

    return as_system
