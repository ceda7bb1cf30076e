"""The proxies in front of this server, and the trust in their headers.

This module finds client, scheme and host of a request once, from the connection and from the
headers of trusted proxies. Later code reads them from the request's scope. The headers of proxies
are removed from it.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from dtrfast.config import parse_network
from dtrfast.server import forwarded
from dtrfast.server.asgi import Message, Receive, Scope, Send
from dtrfast.server.forwarded import Address

log = logging.getLogger("dtrfast.proxies")

Headers = list[tuple[bytes, bytes]]

_ADDRESSES_KEPT = 4096
# All requests of a client have the same headers from proxies. The cache takes at most 4 MB.
_FACTS_KEPT = 4096
_KEPT_SIZE_MAX = 512
# Hints are for the administrator. Each client can cause them, so they are bounded.
_HINT_SECONDS = 3600.0
_HINTS_MAX = 100
# The address of a peer on a Unix socket, which other machines cannot reach.
_HERE = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection. `is_proxy`: its headers about clients are trusted.

    `is_secure`: it uses TLS to a proxy that passes its bytes on.
    """

    address: Address | None
    is_proxy: bool = False
    is_secure: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request's client and headers. `is_direct`: no trusted proxy added headers to it."""

    client: Address | None
    is_secure: bool
    headers: Headers
    is_direct: bool = True


@dataclass(frozen=True, slots=True)
class _Facts:
    """The facts in the headers of a trusted proxy. With `client` None the proxy is the client."""

    client: Address | None
    is_secure: bool
    host: str
    port: str


class Proxies:
    """The networks of trusted proxies. Belongs to one thread."""

    def __init__(
        self, networks: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._names = ", ".join(networks) or "none"
        self._networks = [parse_network(network) for network in networks]
        self._clock = clock
        # The times of hints, by text and by the address that they concern.
        self._hinted: dict[tuple[str, str], float] = {}
        self.trusts = lru_cache(_ADDRESSES_KEPT)(self._trusts)
        self._known_facts = lru_cache(_FACTS_KEPT)(self._read)

    def _trusts(self, host: str) -> bool:
        """Return True if an address is that of a trusted proxy."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def peer(self, name: object) -> Peer:
        """Return the peer of a connection, from its socket's name."""
        if not isinstance(name, (tuple, list)) or len(name) < 2:
            return Peer(None)
        host = str(name[0])
        host = forwarded.plain_address(host) or host
        return Peer((host, int(name[1] or 0)), self.trusts(host))

    def arrive(self, peer: Peer, is_secure: bool, headers: Headers) -> Arrival:
        """Return a request's client, scheme and headers, without the headers about the client.

        Those headers count only if `peer` is a trusted proxy. `is_secure`: the connection has TLS.
        """
        forwarding: Headers = []
        rest: Headers = []
        for field in headers:
            (forwarding if forwarded.is_forwarding(field[0]) else rest).append(field)
        if not forwarding:
            return Arrival(peer.address, is_secure, headers)
        if not peer.is_proxy:
            self._hint_at_setting(peer, forwarding)
            return Arrival(peer.address, is_secure, rest)
        is_short = sum(len(value) for _, value in forwarding) <= _KEPT_SIZE_MAX
        facts = (self._known_facts if is_short else self._read)(tuple(forwarding))
        if facts.host or facts.port:
            rest = _with_host(rest, facts.host, facts.port)
        client = facts.client or peer.address
        return Arrival(client, is_secure or facts.is_secure, rest, is_direct=False)

    def _read(self, forwarding: tuple[tuple[bytes, bytes], ...]) -> _Facts:
        one = forwarded.read_x_forwarded(forwarding, self.trusts)
        other = forwarded.read_forwarded(forwarding, self.trusts)
        client = other.client or one.client
        if one.client and other.client and one.client[0] != other.client[0]:
            # A proxy sets one kind of headers, and most proxies let clients send the other. So if
            # the kinds differ, neither is trusted.
            client = None
            self.hint(
                "X-Forwarded-For and Forwarded of a request name different clients, so both are"
                " ignored: let the proxy remove the one that it does not set"
            )
        return _Facts(
            client,
            "https" in (one.scheme, other.scheme),
            one.host or other.host or "",
            forwarded.read_port(forwarding),
        )

    def _hint_at_setting(self, peer: Peer, forwarding: Headers) -> None:
        address = peer.address[0] if peer.address else "an unknown address"
        named = forwarded.read_x_forwarded(forwarding, self.trusts).client
        if named is not None and named[0] == address:
            return  # another ASGI server has read the headers, and the peer is no proxy
        self.hint(
            "%s from %s is ignored, which is no trusted proxy; if it is your proxy, add its"
            " address to server.trusted_proxies (now %s)",
            forwarding[0][0][:40].decode("latin-1"),
            address,
            self._names,
            about=address,
        )

    def hint(self, text: str, *values: object, about: str = "") -> None:
        """Log a warning, at most once an hour for the same text and the address in `about`.

        So one address does not use up the hint about another. There are at most `_HINTS_MAX` hints
        an hour.
        """
        now, key = self._clock(), (text, about)
        # Check this first: behind a proxy that is not trusted, each request comes here.
        if now - self._hinted.get(key, -_HINT_SECONDS) < _HINT_SECONDS:
            return
        recent = {one: at for one, at in self._hinted.items() if now - at < _HINT_SECONDS}
        if len(recent) < _HINTS_MAX:
            recent[key] = now
            log.warning(text, *values)
        self._hinted = recent


def _with_host(headers: Headers, host: str, port: str) -> Headers:
    """Return the headers with `host`, if given, and with `port` if the host has none."""
    sent = next((value for name, value in headers if name == b"host"), b"").decode("latin-1")
    wanted = host or sent
    if port and wanted and not wanted.rpartition("]")[2].count(":"):
        wanted = f"{wanted}:{port}"
    if wanted == sent:
        return headers
    others = [field for field in headers if field[0] != b"host"]
    return [(b"host", wanted.encode("latin-1")), *others]


class Edge:
    """The application, for requests that did not come through the door.

    It finds the client as the door does. It passes on further arguments, because applications get
    more of them from Hypercorn than from ASGI servers.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        proxies: Proxies,
        peer: Peer | None = None,
        hsts: bytes = b"",
    ) -> None:
        """`peer`: the peer of all requests; None to take it from each request's scope.

        `hsts`: the value of Strict-Transport-Security; empty for responses without it.
        """
        self._app = app
        self._proxies = proxies
        self._peer = peer
        self._hsts = hsts

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *others: Any) -> None:
        if scope["type"] == "http":
            peer = self._peer
            if peer is None:
                client, server = scope.get("client"), scope.get("server")
                if client is None and (server is None or server[1] is None):
                    peer = Peer(None, self._proxies.trusts(_HERE))
                else:
                    peer = self._proxies.peer(client)
            headers = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
            arrival = self._proxies.arrive(peer, scope["scheme"] == "https", headers)
            scope = {
                **scope,
                "client": arrival.client,
                "scheme": "https" if arrival.is_secure else scope["scheme"],
                "headers": arrival.headers,
            }
            if self._hsts and arrival.is_direct:
                send = partial(_send_secure, send, self._hsts)
        await self._app(scope, receive, send, *others)


async def _send_secure(send: Send, hsts: bytes, message: Message) -> None:
    if message["type"] == "http.response.start":
        headers = [*message.get("headers", ()), (b"strict-transport-security", hsts)]
        message = {**message, "headers": headers}
    await send(message)
