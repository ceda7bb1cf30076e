"""How commands reach a registry: its data directory, or its address with a token.

Both are asked by the management API. For a data directory the application runs in this process, on
the same index as the server that may be running, and whoever can open that is the administrator.
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
from dtrfast.api.types import Context
from dtrfast.api.visits import VISIT
from dtrfast.assembly import open_store
from dtrfast.cli.events import REMOTE
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
# A synchronisation with a directory of many users takes a while.
_TIMEOUT_SECONDS = 600.0
_LOOK_SECONDS = 20.0
_PAGE_SIZE = "1000"


@dataclass(frozen=True, slots=True)
class Where:
    """Options that say which registry is meant."""

    url: Annotated[
        str | None, Parameter(help="The registry's address, such as https://registry.example.")
    ] = None
    token_file: Annotated[
        Path | None, Parameter(help="A file with a personal token for it (else DTRFAST_TOKEN).")
    ] = None
    ca_file: Annotated[
        Path | None, Parameter(help="Authorities to trust, in PEM, for a certificate of your own.")
    ] = None
    config: Annotated[
        Path | None, Parameter(help="Settings, a TOML file (else DTRFAST_CONFIG).")
    ] = None
    data: Annotated[
        str | None, Parameter(help="The data directory to work on (./data), without --url.")
    ] = None
    json: Annotated[bool, Parameter(help="Print what the API answers.", negative="")] = False


HERE = Where()


class Refused(DtrfastError):
    """The registry refused; its own message."""


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
        """What the operation answers. `pieces` of the path may hold slashes. Raises `Refused`."""
        path = "/".join(quote(piece, safe="") for piece in pieces)
        url = f"{self._base_url}/{path}"
        response = self._send(httpx.Request(method, url, params=query, json=body))
        if response.is_success:
            return response.json() if response.content else None
        raise Refused(_message(response))

    def pages(self, key: str, *pieces: str, query: Mapping[str, str] | None = None) -> list[Any]:
        """All entries of a list that comes in pages."""
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
        return f"{response.request.url} answered with status {response.status_code}"


@contextmanager
def connect(where: Where) -> Iterator[Api]:
    """The API of the registry that the options name."""
    if where.url:
        with _remote(where, where.url) as api:
            yield api
    else:
        with _local(load(where.config, os.environ, {"store.data": where.data})) as api:
            yield api


@contextmanager
def _remote(where: Where, url: str) -> Iterator[Api]:
    token = os.environ.get("DTRFAST_TOKEN", "")
    if where.token_file is not None:
        token = _read_token(where.token_file)
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
                raise Refused(f"{url} does not answer: {error}") from error

        yield Api(send, url)


def _refusal_without_token(url: str, verify: ssl.SSLContext | bool) -> DtrfastError:
    """The answer to a user without a token, who needs none if accounts are off."""
    try:
        answer = httpx.get(url.rstrip("/") + _PREFIX, verify=verify, timeout=_LOOK_SECONDS)
    except httpx.HTTPError as error:
        return Refused(f"{url} does not answer: {error}")
    message = _message(answer)
    if answer.status_code == 404 and message.startswith("accounts are off"):
        return Refused(message)
    return StartRefused("say who you are: --token-file FILE, or DTRFAST_TOKEN")


def _read_token(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise StartRefused(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise StartRefused(f"{path} holds no token: write one line into it") from error


def _authorities(path: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # also what TLS cannot read
        raise StartRefused(
            f"{path} is no file of authorities in PEM ({error.strerror or error})"
        ) from error


class _Here:
    """The way to a thread, for one caller who may wait."""

    async def run(self, function: Callable[..., T], *args: object) -> T:
        return function(*args)


@contextmanager
def _local(config: Config) -> Iterator[Api]:
    data = config.store.data
    if not os.access(Layout(data).format, os.R_OK | os.W_OK):
        raise StartRefused(
            f"{data} is no data directory that you may open: name one with --data, or a registry"
            " with --url"
        )
    store = open_store(config, may_upgrade=False)
    events = EventWriter(Layout(data).audit, config.log.audit_size_max)
    try:
        yield Api(_send_into(_application(config, store, events)), "http://localhost")
    finally:
        events.close()
        store.close()


def _application(config: Config, store: Store, events: EventWriter) -> App:
    """The application, asked by the system itself."""
    registry = Registry(store.engine, store.blobs, config)
    tries = Tries.open(Layout(config.store.data).tries, time.time)
    identity = Identity.open(
        store.engine, registry, config, lambda: int(time.time()), tries, events
    )
    app = create_app(Context(registry, _Here(), config, identity.guard, store.report, identity))
    visit = identity.guard.visit(SYSTEM)

    async def as_system(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {VISIT: visit}}, receive, send)

    return as_system


def _send_into(app: App) -> Callable[[httpx.Request], httpx.Response]:
    async def exchange(request: httpx.Request) -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(REMOTE, 0))
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.send(request)

    return lambda request: asyncio.run(exchange(request))
