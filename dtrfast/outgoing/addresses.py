"""Public and private IP addresses.

An address is public if it is globally reachable unicast by IANA's special-purpose registries. An
IPv6 address that carries an IPv4 address counts as that one: a gateway sends packets there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The IANA IPv4 Special-Purpose Address Registry, multicast and reserved addresses, and the last:
# the address at which Azure answers its virtual machines, which is a public one.
_PRIVATE_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",
    )
)
# All that IANA has given out for unicast, and the special parts of it.
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_PRIVATE_V6 = tuple(
    ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # RFC 5214 section 6.1


def is_permitted(address: Address, allowed: Sequence[Network]) -> bool:
    """Return whether an address is public or allowed. All that it carries have to be."""
    if any(address in network for network in allowed):
        return True
    inner = carried(address)
    if inner:
        return all(is_permitted(one, allowed) for one in inner)
    return is_public(address)


def is_public(address: Address) -> bool:
    """Return whether packets to the address leave for the public internet."""
    inner = carried(address)
    if inner:
        return all(map(is_public, inner))
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not any(address in network for network in _PRIVATE_V4)
    return (
        address in _UNICAST_V6
        and address.is_global
        and not any(address in network for network in _PRIVATE_V6)
    )


def carried(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 addresses inside an IPv6 address: mapped, NAT64, 6to4, Teredo, ISATAP."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    low = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _NAT64:
        return (low,)
    found = [] if address.sixtofour is None else [address.sixtofour]
    found += address.teredo or ()
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        found.append(low)
    return tuple(found)
