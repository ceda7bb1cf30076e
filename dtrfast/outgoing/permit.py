"""Permission to call another service: the one place that decides on outgoing addresses.

An address that an administrator or the operator set is called as it is. One that a repository's
owner entered is resolved here; all addresses of its name are checked, and only those are connected
to, so a name server cannot answer the check and the call differently.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dtrfast.config import OutgoingConfig, is_loopback_host, parse_network
from dtrfast.errors import AddressRefused, CallFailed
from dtrfast.outgoing.addresses import Address, is_permitted

if TYPE_CHECKING:
    import httpx

_PORTS = {"http": 80, "https": 443, "ldap": 389, "ldaps": 636}
# What owners may enter: other protocols have no use for them, and no pinned connection here.
_SCHEMES_OF_OWNERS = frozenset({"http", "https"})
_LENGTH_MAX = 2048
# Where clouds give a machine its credentials: a proxy would ask for its own.
_METADATA = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254")
_LOOPBACK = ("localhost", "127.0.0.0/8", "::1")


class Setter(Enum):
    """The role that entered an address."""

    ADMINISTRATOR = "a system administrator, or the operator on the command line"
    OWNER = "an owner of a repository or a namespace"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one call. `total_seconds` is from the first packet to the last byte."""

    step_seconds: float = 5.0
    total_seconds: float = 10.0
    size_max: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to call one address.

    `addresses`: connect to one of these and to no other; empty: to the host by its name. `proxy` is
    host and port of the proxy to go through, or None. Certificates are those of `host` either way.
    """

    url: httpx.URL
    host: str
    port: int
    addresses: tuple[str, ...]
    proxy: tuple[str, int] | None

    @property
    def targets(self) -> tuple[str, ...]:
        """The hosts to connect to, in order."""
        return self.addresses or (self.host,)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.url.scheme, self.host, self.port


# The addresses of a name, as text. Raises OSError.
Resolve = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name by this machine's resolver. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Outgoing:
    """Decides on calls to other services. Safe from many threads."""

    def __init__(self, config: OutgoingConfig, resolve: Resolve = resolve) -> None:
        self._allowed = tuple(map(parse_network, config.allow))
        self._proxy = _proxy(config.proxy) if config.proxy else None
        self._bypass = config.no_proxy
        self._resolve = resolve

    def permit(self, address: str, setter: Setter) -> Permit:
        """Leave to call a URL. May wait for a name server if an owner entered it.

        Raises `AddressRefused`, and `CallFailed` for an owner's name that does not resolve.
        """
        url, host, port = _parse(address)
        addresses: tuple[str, ...] = ()
        if setter is Setter.OWNER:
            if url.scheme not in _SCHEMES_OF_OWNERS:
                raise AddressRefused(f"{address[:120]!r} is not an http:// or https:// address")
            addresses = self._checked(host, port)
        is_http = url.scheme in ("http", "https")
        proxy = self._proxy if is_http and not self._is_direct(host, addresses) else None
        return Permit(url, host, port, addresses, proxy)

    def library_proxy(self) -> tuple[str, str] | None:
        """The proxy and the hosts without it, as `HTTPS_PROXY` and `NO_PROXY` have them, for a
        library that decides itself. None: no proxy, of the environment neither.
        """
        if self._proxy is None:
            return None
        host, port = self._proxy
        literal = f"[{host}]" if ":" in host else host
        return f"http://{literal}:{port}", ",".join((*self._bypass, *_LOOPBACK, *_METADATA))

    def _checked(self, host: str, port: int) -> tuple[str, ...]:
        """All addresses of a host, if every one may be called."""
        try:
            found = tuple(self._resolve(host, port))
        except (OSError, UnicodeError) as error:
            raise CallFailed(f"the name {host[:120]} does not resolve: check it") from error
        if not found:
            raise CallFailed(f"the name {host[:120]} has no address: check it")
        if not all(is_permitted(ipaddress.ip_address(one), self._allowed) for one in found):
            # Which address it was would tell of names that only this network knows.
            raise AddressRefused(
                f"{host[:120]} is in a private network: ask the operator of this registry to add"
                " that to outgoing.allow"
            )
        return found

    def _is_direct(self, host: str, addresses: Sequence[str]) -> bool:
        """Return whether a host is called without the proxy."""
        if is_loopback_host(host) or host in _METADATA:
            return True
        literals = [one for one in (_literal(host), *map(_literal, addresses)) if one is not None]
        return any(_covers(entry, host, literals) for entry in self._bypass)


def _proxy(url: str) -> tuple[str, int]:
    proxy = urlsplit(url)
    return proxy.hostname or "", proxy.port or 80


def _parse(address: str) -> tuple[httpx.URL, str, int]:
    """The URL, its host as it is resolved, and its port."""
    # Not at the top: it takes every process 0.16 s, and most never call out.
    import httpx

    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise AddressRefused(f"{address[:120]!r} is no address of a service") from error
    host = url.raw_host.decode("ascii").rstrip(".").lower()
    port = _PORTS.get(url.scheme, 0) if url.port is None else url.port
    if url.userinfo:
        raise AddressRefused("an address has no name and password before its host: leave them out")
    if not host or "%" in host or not 0 < port < 65_536 or len(address) > _LENGTH_MAX:
        raise AddressRefused(f"{address[:120]!r} is no address of a service")
    return url, host, port


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _covers(entry: str, host: str, addresses: Sequence[Address]) -> bool:
    """Return whether an entry of `outgoing.no_proxy` stands for a host."""
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        domain = entry.lower().strip(".")
        return host == domain or host.endswith(f".{domain}")
    return any(address in network for address in addresses)


# For callers without a configuration, such as a command that has no file of settings.
DIRECT = Outgoing(OutgoingConfig())
