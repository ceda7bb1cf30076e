"""The proxies in front of this server, and what is believed of what they tell.

Client, scheme and host of a request are found here once, from the connection and from the headers
of trusted proxies. Later code reads them from the request's scope; the headers are gone from it.
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
# A client's requests have the same headers of proxies. At most 4 MB of them are kept.
_FACTS_KEPT = 4096
_KEPT_SIZE_MAX = 512
# A hint is for the administrator, and anyone can cause it.
_HINT_SECONDS = 3600.0
_HINTS_MAX = 100
# Other machines do not reach a Unix socket.
_HERE = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection. `is_proxy`: it is believed when it tells of clients.
    `is_secure`: it speaks TLS with a proxy that passes its bytes on.
    """

    address: Address | None
    is_proxy: bool = False
    is_secure: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request's client and headers. `is_direct`: no trusted proxy told anything of it."""

    client: Address | None
    is_secure: bool
    headers: Headers
    is_direct: bool = True


@dataclass(frozen=True, slots=True)
class _Facts:
    """The facts in the headers of a trusted proxy. No client: the proxy itself is it."""

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
        # The times of hints, by text and by the address that they are about.
        self._hinted: dict[tuple[str, str], float] = {}
        self.trusts = lru_cache(_ADDRESSES_KEPT)(self._trusts)
        self._known_facts = lru_cache(_FACTS_KEPT)(self._read)

    def _trusts(self, host: str) -> bool:
        """Return whether an address is that of a trusted proxy."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def peer(self, name: object) -> Peer:
        """The peer of a connection, from its socket's name."""
        if not isinstance(name, (tuple, list)) or len(name) < 2:
            return Peer(None)
        host = str(name[0])
        host = forwarded.plain_address(host) or host
        return Peer((host, int(name[1] or 0)), self.trusts(host))

    def arrive(self, peer: Peer, is_secure: bool, headers: Headers) -> Arrival:
        """Read the headers in which proxies tell of a client, if this peer is one; drop them."""
        told: Headers = []
        rest: Headers = []
        for field in headers:
            (told if forwarded.is_forwarding(field[0]) else rest).append(field)
        if not told:
            return Arrival(peer.address, is_secure, headers)
        if not peer.is_proxy:
            self._hint_at_setting(peer, told)
            return Arrival(peer.address, is_secure, rest)
        is_short = sum(len(value) for _, value in told) <= _KEPT_SIZE_MAX
        facts = (self._known_facts if is_short else self._read)(tuple(told))
        if facts.host or facts.port:
            rest = _with_host(rest, facts.host, facts.port)
        client = facts.client or peer.address
        return Arrival(client, is_secure or facts.is_secure, rest, is_direct=False)

    def _read(self, told: tuple[tuple[bytes, bytes], ...]) -> _Facts:
        one = forwarded.read_x_forwarded(told, self.trusts)
        other = forwarded.read_forwarded(told, self.trusts)
        return _Facts(
            self._agreed(one.client, other.client),
            "https" in (one.scheme, other.scheme),
            one.host or other.host or "",
            forwarded.read_port(told),
        )

    def _agreed(self, one: Address | None, other: Address | None) -> Address | None:
        """The client that both kinds of headers name. Proxies set one kind, and most let clients
        send the other: where they differ, neither is believed.
        """
        if one is not None and other is not None and one[0] != other[0]:
            self.hint(
                "X-Forwarded-For and Forwarded of a request name different clients, so neither"
                " counts: let the proxy remove the one that it does not set"
            )
            return None
        return other or one

    def _hint_at_setting(self, peer: Peer, told: Headers) -> None:
        address = peer.address[0] if peer.address else "an unknown address"
        named = forwarded.read_x_forwarded(told, self.trusts).client
        if named is not None and named[0] == address:
            return  # another server has read the headers, and this is no proxy
        self.hint(
            "%s from %s is ignored, which is no trusted proxy; if it is a proxy of yours, add its"
            " address to server.trusted_proxies (now %s)",
            told[0][0][:40].decode("latin-1"),
            address,
            self._names,
            about=address,
        )

    def hint(self, text: str, *values: object, about: str = "") -> None:
        """Log a warning, the same one once an hour at most for each address that it is `about`, so
        that one address does not use up the hint of another. An hour has `_HINTS_MAX` of them.
        """
        now, key = self._clock(), (text, about)
        # Before anything else: behind a proxy that is not named every request comes here.
        if now - self._hinted.get(key, -_HINT_SECONDS) < _HINT_SECONDS:
            return
        recent = {one: at for one, at in self._hinted.items() if now - at < _HINT_SECONDS}
        if len(recent) < _HINTS_MAX:
            recent[key] = now
            log.warning(text, *values)
        self._hinted = recent


def _with_host(headers: Headers, host: str, port: str) -> Headers:
    """The headers with this host, or their own, and this port if it has none."""
    sent = next((value for name, value in headers if name == b"host"), b"").decode("latin-1")
    wanted = host or sent
    if port and wanted and not wanted.rpartition("]")[2].count(":"):
        wanted = f"{wanted}:{port}"
    if wanted == sent:
        return headers
    others = [field for field in headers if field[0] != b"host"]
    return [(b"host", wanted.encode("latin-1")), *others]


class Edge:
    """The application, for requests that another server received: it gets them as they arrived.

    Passes on whatever arguments it is called with, which Hypercorn's applications have more of.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        proxies: Proxies,
        peer: Peer | None = None,
        hsts: bytes = b"",
    ) -> None:
        """`peer` is that of all requests, whatever their scopes say. `hsts`: the value of
        Strict-Transport-Security, if answers are to have it.
        """
        self._app = app
        self._proxies = proxies
        self._peer = peer
        self._hsts = hsts

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *others: Any) -> None:
        if scope["type"] == "http":
            arrival = self._arrive(scope)
            scope = {
                **scope,
                "client": arrival.client,
                "scheme": "https" if arrival.is_secure else scope["scheme"],
                "headers": arrival.headers,
            }
            if self._hsts and arrival.is_direct:
                send = partial(_send_secure, send, self._hsts)
        await self._app(scope, receive, send, *others)

    def _arrive(self, scope: Scope) -> Arrival:
        peer = self._peer or self._peer_of(scope)
        headers = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
        return self._proxies.arrive(peer, scope["scheme"] == "https", headers)

    def _peer_of(self, scope: Scope) -> Peer:
        client, server = scope.get("client"), scope.get("server")
        if client is None and (server is None or server[1] is None):
            return Peer(None, self._proxies.trusts(_HERE))
        return self._proxies.peer(client)


async def _send_secure(send: Send, hsts: bytes, message: Message) -> None:
    if message["type"] == "http.response.start":
        headers = [*message.get("headers", ()), (b"strict-transport-security", hsts)]
        message = {**message, "headers": headers}
    await send(message)
