"""Permits to call other services. This module alone decides on outgoing addresses.

An address that an administrator or the operator set is called as it is. An address that a
repository's owner entered is resolved here, and every IP address of its name is checked. The call
connects to these IP addresses only, so a name server cannot answer the check and the call
differently.
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
# The schemes that owners may enter. Connections of other protocols are not pinned to addresses.
_SCHEMES_OF_OWNERS = frozenset({"http", "https"})
_LENGTH_MAX = 2048
# Clouds give a machine its credentials at these addresses. A proxy would get its own credentials.
_METADATA = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254")
_LOOPBACK = ("localhost", "127.0.0.0/8", "::1")


class Setter(Enum):
    """The role that entered an address."""

    ADMINISTRATOR = "a system administrator, or the operator on the command line"
    OWNER = "an owner of a repository or a namespace"


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Limits of one call. `total_seconds` is from the first packet to the last byte."""

    step_seconds: float = 5.0
    total_seconds: float = 10.0
    size_max: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission to call one address.

    Connect only to one of `addresses`; if they are empty, to the host by its name. `proxy` is host
    and port of the proxy to use, or None. The server's certificate must name `host` in any case.
    """

    url: httpx.URL
    host: str
    port: int
    addresses: tuple[str, ...]
    proxy: tuple[str, int] | None

    @property
    def targets(self) -> tuple[str, ...]:
        """The hosts or IP addresses to connect to, in order."""
        return self.addresses or (self.host,)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.url.scheme, self.host, self.port


# A function that returns the IP addresses of a host name, as text. Raises OSError.
Resolve = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host name, from this machine's resolver. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class OutgoingPolicy:
    """Decides on calls to other services. Safe from many threads."""

    def __init__(self, config: OutgoingConfig, resolve: Resolve = resolve) -> None:
        self._allowed = tuple(map(parse_network, config.allow))
        self._proxy = _proxy(config.proxy) if config.proxy else None
        self._bypass = config.no_proxy
        self._resolve = resolve

    def permit(self, address: str, setter: Setter) -> Permit:
        """Return the permit to call a URL. Waits for a name server if an owner entered the URL.

        Raises `AddressRefused`, and `CallFailed` for an owner's host name that does not resolve.
        """
        url, host, port = _parse(address)
        addresses: tuple[str, ...] = ()
        if setter is Setter.OWNER:
            if url.scheme not in _SCHEMES_OF_OWNERS:
                raise AddressRefused(f"{address[:120]!r} is not an http:// or https:// address")
            addresses = self._checked(host, port)
        literals = [one for one in (_literal(host), *map(_literal, addresses)) if one is not None]
        is_direct = (
            url.scheme not in ("http", "https")
            or is_loopback_host(host)
            or host in _METADATA
            or any(_covers(entry, host, literals) for entry in self._bypass)
        )
        return Permit(url, host, port, addresses, None if is_direct else self._proxy)

    def library_proxy(self) -> tuple[str, str] | None:
        """Return the proxy and the hosts to call without it, in the form of `HTTPS_PROXY` and
        `NO_PROXY`, for a library that decides itself. None: the library must not use a proxy, not
        even that of the environment.
        """
        if self._proxy is None:
            return None
        host, port = self._proxy
        literal = f"[{host}]" if ":" in host else host
        return f"http://{literal}:{port}", ",".join((*self._bypass, *_LOOPBACK, *_METADATA))

    def _checked(self, host: str, port: int) -> tuple[str, ...]:
        """Return all IP addresses of a host. Raises `AddressRefused` unless all may be called."""
        try:
            found = tuple(self._resolve(host, port))
        except (OSError, UnicodeError) as error:
            raise CallFailed(f"the name {host[:120]} does not resolve: check it") from error
        if not found:
            raise CallFailed(f"the name {host[:120]} has no address: check it")
        if not all(is_permitted(ipaddress.ip_address(one), self._allowed) for one in found):
            # The text leaves out the address, which only this network may know.
            raise AddressRefused(
                f"{host[:120]} is in a private network: ask the operator of this registry to add"
                " that to outgoing.allow"
            )
        return found


def _proxy(url: str) -> tuple[str, int]:
    proxy = urlsplit(url)
    return proxy.hostname or "", proxy.port or 80


def _parse(address: str) -> tuple[httpx.URL, str, int]:
    """Return the URL, its host in the form for the resolver, and its port."""
    # Not at the top: the import takes 0.16 s, and most processes never call another service.
    import httpx

    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise AddressRefused(f"{address[:120]!r} is not an address of a service") from error
    host = url.raw_host.decode("ascii").rstrip(".").lower()
    port = _PORTS.get(url.scheme, 0) if url.port is None else url.port
    if url.userinfo:
        raise AddressRefused("an address must not have a name or password before its host")
    if not host or "%" in host or not 0 < port < 65_536 or len(address) > _LENGTH_MAX:
        raise AddressRefused(f"{address[:120]!r} is not an address of a service")
    return url, host, port


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _covers(entry: str, host: str, addresses: Sequence[Address]) -> bool:
    """Return True if an entry of `outgoing.no_proxy` covers a host or one of its IP addresses."""
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        domain = entry.lower().strip(".")
        return host == domain or host.endswith(f".{domain}")
    return any(address in network for address in addresses)


# The policy of callers without a configuration: no proxy, and no private network is allowed.
DIRECT = OutgoingPolicy(OutgoingConfig())
