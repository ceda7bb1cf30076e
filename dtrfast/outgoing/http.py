"""Calls over HTTP to permitted addresses, with limits of time and size."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin

import httpcore

from dtrfast.errors import AddressRefused, CallFailed
from dtrfast.outgoing.network import Deadline, PermittedNetwork
from dtrfast.outgoing.permit import CallLimits, OutgoingPolicy, Permit, Setter

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_MAX = 5
# Headers that hold secrets of one origin.
_SECRETS = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class OutgoingCall:
    """A request to another service.

    `context` has the authorities that may sign the server's certificate; None: the system's.
    """

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    context: ssl.SSLContext | None = None
    limits: CallLimits = field(default_factory=CallLimits)
    follows: bool = False  # GET and HEAD follow redirects; each new address needs a permit


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def ask(outgoing: OutgoingPolicy, address: str, setter: Setter, call: OutgoingCall) -> Reply:
    """Call another service and return its reply, whatever the status.

    The limits of the call hold for all redirects together. Raises `AddressRefused`, `CallFailed`.
    """
    deadline = Deadline(call.limits)
    permit = outgoing.permit(address, setter)
    for _ in range(_REDIRECTS_MAX + 1):
        reply = _exchange(permit, call, deadline)
        location = reply.headers.get("location") if reply.status in _REDIRECTS else None
        if location is None or not call.follows or call.method not in ("GET", "HEAD"):
            return reply
        before = permit
        try:
            target = urljoin(str(before.url), location)
        except ValueError as error:
            raise AddressRefused(f"{location[:120]!r} is not an address of a service") from error
        permit = outgoing.permit(target, setter)
        if before.url.scheme == "https" and permit.url.scheme != "https":
            raise AddressRefused(f"{before.host} redirects the call to an address without TLS")
        if permit.origin != before.origin:
            kept = {n: v for n, v in call.headers.items() if n.lower() not in _SECRETS}
            call = replace(call, headers=kept)
    raise CallFailed(f"{permit.host} redirects the call more than {_REDIRECTS_MAX} times")


def _exchange(permit: Permit, call: OutgoingCall, deadline: Deadline) -> Reply:
    host = f"[{permit.host}]" if ":" in permit.host else permit.host
    authority = host if permit.url.port is None else f"{host}:{permit.port}"
    # Compressed content could become a million times larger than the bytes that are counted.
    given = {"host": authority, "accept-encoding": "identity", **call.headers}
    # Only for https: reading the system's authorities takes 30 ms of CPU.
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
