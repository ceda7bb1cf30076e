"""One call over HTTP to an address that is permitted, within bounds of time and size."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin

import httpcore

from dtrfast.errors import AddressRefused, CallFailed
from dtrfast.outgoing.network import Deadline, PermittedNetwork
from dtrfast.outgoing.permit import Limits, Outgoing, Permit, Setter

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_MAX = 5
# Headers that are a secret of one origin.
_SECRETS = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class Call:
    """A request. `context`: the authorities of the server's certificate; None: the system's."""

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    context: ssl.SSLContext | None = None
    limits: Limits = field(default_factory=Limits)
    # Whether a GET or a HEAD goes on to another address; each is permitted anew.
    follows: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A response, whole. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def ask(outgoing: Outgoing, address: str, setter: Setter, call: Call) -> Reply:
    """The reply of another service, of any status. `limits` hold for all redirects together.

    Raises `AddressRefused`, `CallFailed`.
    """
    deadline = Deadline(call.limits)
    permit = outgoing.permit(address, setter)
    for _ in range(_REDIRECTS_MAX + 1):
        reply = _exchange(permit, call, deadline)
        location = reply.headers.get("location") if reply.status in _REDIRECTS else None
        if location is None or not call.follows or call.method not in ("GET", "HEAD"):
            return reply
        before = permit
        permit = outgoing.permit(_joined(str(permit.url), location), setter)
        if before.url.scheme == "https" and permit.url.scheme != "https":
            raise AddressRefused(f"{before.host} sends the call on to an address without TLS")
        if permit.origin != before.origin:
            call = replace(call, headers=_without_secrets(call.headers))
    raise CallFailed(f"{permit.host} sends the call from one address to the next")


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location)
    except ValueError as error:
        raise AddressRefused(f"{location[:120]!r} is no address of a service") from error


def _without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _SECRETS}


def _exchange(permit: Permit, call: Call, deadline: Deadline) -> Reply:
    # Encoded content could be a million times larger than what is counted on the wire.
    given = {"host": _authority(permit), "accept-encoding": "identity", **call.headers}
    # Reading the system's authorities takes 30 ms of a core.
    is_secure = permit.url.scheme == "https" and call.context is None
    context = ssl.create_default_context() if is_secure else call.context
    network = PermittedNetwork(permit, deadline)
    url = httpcore.URL(
        scheme=permit.url.scheme, host=permit.host, port=permit.port, target=permit.url.raw_path
    )
    content = call.content or None
    if content is not None:
        given["content-length"] = str(len(content))
    try:
        with (
            httpcore.ConnectionPool(context, max_connections=1, network_backend=network) as pool,
            pool.stream(call.method, url, headers=list(given.items()), content=content) as response,
        ):
            return _read(response, call.limits.size_max, permit)
    except (
        httpcore.NetworkError,
        httpcore.TimeoutException,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        OSError,
    ) as error:
        reason = str(error) or type(error).__name__
        raise CallFailed(f"{permit.host} does not answer ({reason[:200]})") from error


def _read(response: httpcore.Response, size_max: int, permit: Permit) -> Reply:
    content = b""
    for piece in response.iter_stream():
        content += piece
        if len(content) > size_max:
            raise CallFailed(f"{permit.host} sends more than {size_max} bytes")
    headers = {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in response.headers}
    return Reply(response.status, headers, content)


def _authority(permit: Permit) -> str:
    host = f"[{permit.host}]" if ":" in permit.host else permit.host
    return host if permit.url.port is None else f"{host}:{permit.port}"
