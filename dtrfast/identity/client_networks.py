"""The network of a client: the unit of failed tries, known addresses and folded audit events."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

# An IPv6 client may use any address of its /64 (RFC 4291 section 2.5.1).
_IPV6_PREFIX = 64
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: IPv4 addresses are behind the prefix


@lru_cache(8192)
def network_of(remote: str) -> str:
    """Return the network of an address: the /64 of an IPv6 address, or the IPv4 address itself.

    An IPv4 address inside an IPv6 one (mapped, or of NAT64) counts as IPv4. A text that is no
    address is returned as it is.
    """
    try:
        address = ipaddress.ip_address(remote.partition("%")[0])
    except ValueError:
        return remote
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address in _NAT64:
        return str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return str(ipaddress.IPv6Network((address, _IPV6_PREFIX), strict=False))
