"""Public and private IP addresses.

An address is public if IANA's special-purpose registries make it globally reachable unicast. An
IPv6 address that carries an IPv4 address counts as the IPv4 address, because gateways send packets
there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The IANA IPv4 Special-Purpose Address Registry, and the multicast and reserved addresses. The last
# entry is a public address, at which Azure serves its virtual machines.
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
# The range that IANA assigned to unicast, and the special-purpose networks in it.
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_PRIVATE_V6 = tuple(
    ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # RFC 5214 section 6.1


def is_permitted(address: Address, allowed: Sequence[Network]) -> bool:
    """Return True if an address is public or in an allowed network. An address that carries others
    is permitted if all of them are.
    """
    if any(address in network for network in allowed):
        return True
    inner = carried(address)
    if inner:
        return all(is_permitted(one, allowed) for one in inner)
    return is_public(address)


def is_public(address: Address) -> bool:
    """Return True if packets to the address go to the public internet."""
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
    """Return the IPv4 addresses inside an IPv6 address: mapped, NAT64, 6to4, Teredo, ISATAP."""
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
