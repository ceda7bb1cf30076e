"""The headers in which proxies tell of a client: `X-Forwarded-*`, and `Forwarded` (RFC 7239).

Each proxy adds its peer at the right end of a list. Lists are therefore read from there: everything
left of the first address that is no trusted proxy is the client's own word.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from dtrfast.api.addresses import is_authority

Address = tuple[str, int]
Fields = Sequence[tuple[bytes, bytes]]

# More proxies than any request passes. What is left of them is not looked at.
_HOPS_MAX = 32
# The values of a list that are looked at, empty ones counted.
_LIST_COUNT_MAX = 2 * _HOPS_MAX
# The longest node: an IPv6 address with an obfuscated port.
_NODE_LENGTH_MAX = 80
_NODES_KEPT = 4096
# Proxies name these beside hosts that are reached without them, and for the wrong scheme.
_USUAL_PORTS = ("80", "443")

_match_node = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:([0-9]{1,5})|_[A-Za-z0-9._-]+))?|([0-9A-Fa-f:.]+)"
).fullmatch
_match_port = re.compile(r"[1-9][0-9]{0,4}").fullmatch

# An element of `Forwarded`, backwards: `value=name`, more of them behind `;`, up to a comma or the
# end. No escapes: no node, host or scheme has any, and a quote that ends nothing hides nothing.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_PAIR = rf'(?:"[^"\\]*"|{_TOKEN}+)={_TOKEN}+'
_match_element = re.compile(rf"[ \t]*(?:({_PAIR}(?:[ \t]*;[ \t]*{_PAIR})*)[ \t]*)?(?:,|\Z)").match
_find_pairs = re.compile(rf'({_TOKEN}+)=(?:"([^"]*)"|({_TOKEN}+))').findall


@dataclass(frozen=True, slots=True)
class Told:
    """Facts that proxies tell; None for those that they do not. `scheme` is in lower case."""

    client: Address | None = None
    scheme: str | None = None
    host: str | None = None


def is_forwarding(name: bytes) -> bool:
    """Return whether proxies tell of the client in fields of this name, in lower case."""
    return name == b"forwarded" or name.startswith(b"x-forwarded-")


def plain_address(text: str) -> str | None:
    """An address in its one spelling, IPv4 in IPv6 as IPv4; None for what is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def read_x_forwarded(fields: Fields, trusts: Callable[[str], bool]) -> Told:
    """The facts in `X-Forwarded-*`. Of schemes, hosts and ports the first counts: the client's."""
    nodes = map(_node, _from_right(_joined(fields, b"x-forwarded-for")))
    scheme = _first(fields, b"x-forwarded-proto").lower()
    host = _first(fields, b"x-forwarded-host")
    return Told(_find_client(nodes, trusts), scheme or None, host if is_authority(host) else None)


def read_port(fields: Fields) -> str:
    """The port in `X-Forwarded-Port`; empty for the usual ones, and where there is none."""
    port = _first(fields, b"x-forwarded-port")
    if _match_port(port) is None or int(port) > 65_535 or port in _USUAL_PORTS:
        return ""
    return port


def read_forwarded(fields: Fields, trusts: Callable[[str], bool]) -> Told:
    """The facts in `Forwarded`, of the elements up to the one that tells of the client."""
    elements = []
    for element in islice(_elements(_joined(fields, b"forwarded")), _HOPS_MAX):
        elements.append(element)
        if element.client is not None and not trusts(element.client[0]):
            break
    return Told(
        _find_client((element.client for element in elements), trusts),
        next((element.scheme for element in reversed(elements) if element.scheme), None),
        next((element.host for element in reversed(elements) if element.host), None),
    )


def _find_client(nodes: Iterable[Address | None], trusts: Callable[[str], bool]) -> Address | None:
    """The first node that is no trusted proxy, from the right; or the last one that is known.

    A proxy that does not tell whom it speaks for is the client, as far as anything is known.
    """
    found = None
    for node in nodes:
        if node is None:
            break
        found = node
        if not trusts(node[0]):
            break
    return found


def _joined(fields: Fields, wanted: bytes) -> str:
    return ",".join(value.decode("latin-1") for name, value in fields if name == wanted)


def _first(fields: Fields, wanted: bytes) -> str:
    """The first value of a list; empty where there is none."""
    return _plain(_joined(fields, wanted).lstrip(", \t").partition(",")[0])


def _plain(value: str) -> str:
    """A value without white space and the quotes around it."""
    value = value.strip(" \t")
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _from_right(values: str) -> list[str]:
    """The last values of a list, the last one first."""
    parts = [_plain(part) for part in reversed(values.rsplit(",", _LIST_COUNT_MAX))]
    return [part for part in parts if part][:_HOPS_MAX]


def _node(text: str) -> Address | None:
    """The address of a node; None for an unknown or obfuscated one, and for garbage."""
    return _known_node(text) if len(text) <= _NODE_LENGTH_MAX else None


@lru_cache(_NODES_KEPT)
def _known_node(text: str) -> Address | None:
    match = _match_node(text)
    host = None if match is None else plain_address(match[1] or match[2] or match[4])
    if match is None or host is None:
        return None
    return host, int(match[3] or 0)


def _elements(value: str) -> Iterator[Told]:
    """The elements of a `Forwarded`, the last one first, up to one that is malformed."""
    backwards, position = value[::-1], 0
    for _ in range(_LIST_COUNT_MAX):
        match = _match_element(backwards, position)
        if match is None or match.end() == position:
            return
        position = match.end()
        if match[1]:
            found = _element(match[1][::-1])
            if found is None:
                return
            yield found


def _element(text: str) -> Told | None:
    pairs = [(name.lower(), quoted or token) for name, quoted, token in _find_pairs(text)]
    values = dict(pairs)
    if len(values) < len(pairs):
        return None  # a parameter twice: two readers could differ
    host = values.get("host", "")
    return Told(
        _node(values.get("for", "")),
        values.get("proto", "").lower() or None,
        host if is_authority(host) else None,
    )
