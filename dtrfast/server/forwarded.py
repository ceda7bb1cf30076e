"""The headers in which proxies name the client: `X-Forwarded-*`, and `Forwarded` (RFC 7239).

Each proxy adds its peer at the right end of a list. So lists are read from the right. The first
address that is no trusted proxy is the client's. Values to the left of it are not trusted, because
the client may have sent them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from dtrfast.api.canonical_paths import is_authority

Address = tuple[str, int]
Fields = Sequence[tuple[bytes, bytes]]

# More proxies than any request passes. Further values to the left are ignored.
_HOPS_MAX = 32
# The values of a list that are read, with the empty ones.
_LIST_COUNT_MAX = 2 * _HOPS_MAX
# The length of the longest node: an IPv6 address with an obfuscated port.
_NODE_LENGTH_MAX = 80
_NODES_KEPT = 4096
# Proxies send these even if the host needs no port, and sometimes with the wrong scheme.
_USUAL_PORTS = ("80", "443")

_match_node = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:([0-9]{1,5})|_[A-Za-z0-9._-]+))?|([0-9A-Fa-f:.]+)"
).fullmatch
_match_port = re.compile(r"[1-9][0-9]{0,4}").fullmatch

# A reversed element of `Forwarded`: pairs `value=name` with `;` between, up to a comma or the end.
# Escapes are not accepted: no node, host or scheme has any, and an unmatched quote hides nothing.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_PAIR = rf'(?:"[^"\\]*"|{_TOKEN}+)={_TOKEN}+'
_match_element = re.compile(rf"[ \t]*(?:({_PAIR}(?:[ \t]*;[ \t]*{_PAIR})*)[ \t]*)?(?:,|\Z)").match
_find_pairs = re.compile(rf'({_TOKEN}+)=(?:"([^"]*)"|({_TOKEN}+))').findall


@dataclass(frozen=True, slots=True)
class ForwardedFacts:
    """Facts from the headers of proxies; None for a missing fact. `scheme` is in lower case."""

    client: Address | None = None
    scheme: str | None = None
    host: str | None = None


def is_forwarding(name: bytes) -> bool:
    """Return True if proxies describe the client in headers of this name, in lower case."""
    return name == b"forwarded" or name.startswith(b"x-forwarded-")


def plain_address(text: str) -> str | None:
    """Return an address in canonical form, IPv4 in IPv6 as IPv4; None if it is malformed."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def read_x_forwarded(fields: Fields, trusts: Callable[[str], bool]) -> ForwardedFacts:
    """Return the facts in `X-Forwarded-*`. The first scheme and host count: the client's."""
    parts = _joined(fields, b"x-forwarded-for").rsplit(",", _LIST_COUNT_MAX)
    plain = [_plain(part) for part in reversed(parts)]
    nodes = map(_node, [part for part in plain if part][:_HOPS_MAX])
    scheme = _first(fields, b"x-forwarded-proto").lower()
    host = _first(fields, b"x-forwarded-host")
    return ForwardedFacts(
        _find_client(nodes, trusts), scheme or None, host if is_authority(host) else None
    )


def read_port(fields: Fields) -> str:
    """Return the first port in `X-Forwarded-Port`; empty for 80 and 443, and if there is none."""
    port = _first(fields, b"x-forwarded-port")
    if _match_port(port) is None or int(port) > 65_535 or port in _USUAL_PORTS:
        return ""
    return port


def read_forwarded(fields: Fields, trusts: Callable[[str], bool]) -> ForwardedFacts:
    """Return the facts in `Forwarded`, from the right end up to the client's element."""
    elements = []
    for element in islice(_elements(_joined(fields, b"forwarded")), _HOPS_MAX):
        elements.append(element)
        if element.client is not None and not trusts(element.client[0]):
            break
    return ForwardedFacts(
        _find_client((element.client for element in elements), trusts),
        next((element.scheme for element in reversed(elements) if element.scheme), None),
        next((element.host for element in reversed(elements) if element.host), None),
    )


def _find_client(nodes: Iterable[Address | None], trusts: Callable[[str], bool]) -> Address | None:
    """Return the first of `nodes` that is no trusted proxy, else the last one before an unknown.

    `nodes` begin at the right end of the list. A proxy that does not name its client counts as the
    client.
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
    """Return the first value of a list; empty if there is none."""
    return _plain(_joined(fields, wanted).lstrip(", \t").partition(",")[0])


def _plain(value: str) -> str:
    """Return a value without white space and quotes around it."""
    value = value.strip(" \t")
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _node(text: str) -> Address | None:
    """Return the address of a node; None for an unknown, obfuscated or malformed one."""
    return _known_node(text) if len(text) <= _NODE_LENGTH_MAX else None


@lru_cache(_NODES_KEPT)
def _known_node(text: str) -> Address | None:
    match = _match_node(text)
    host = None if match is None else plain_address(match[1] or match[2] or match[4])
    if match is None or host is None:
        return None
    return host, int(match[3] or 0)


def _elements(value: str) -> Iterator[ForwardedFacts]:
    """Yield the elements of a `Forwarded`, the last one first, up to a malformed one."""
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


def _element(text: str) -> ForwardedFacts | None:
    pairs = [(name.lower(), quoted or token) for name, quoted, token in _find_pairs(text)]
    values = dict(pairs)
    if len(values) < len(pairs):
        return None  # a parameter occurs twice: servers could disagree on its value
    host = values.get("host", "")
    return ForwardedFacts(
        _node(values.get("for", "")),
        values.get("proto", "").lower() or None,
        host if is_authority(host) else None,
    )
