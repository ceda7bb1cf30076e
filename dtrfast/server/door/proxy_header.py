"""The header of the PROXY protocol, versions 1 and 2, which a proxy sends before a client's bytes.

Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. A listener either requires the
header or refuses it. If it were optional, each client could choose its own address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from dataclasses import dataclass

from dtrfast.server.forwarded import Address, plain_address

# TCP sends a lost packet again after one second, and after three if it is lost twice.
TIMEOUT_SECONDS = 5.0

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LINE_START = b"PROXY "
SIZE_MIN = len(_SIGNATURE)
_LINE_SIZE_MAX = 107
# Addresses take 216 bytes at most. The rest is for the proxy's extensions.
_PAYLOAD_SIZE_MAX = 4096
_VERSION = 2
_LOCAL, _PROXY = 0, 1
# Families with transports. `_SIZES`: the bytes of both addresses, with ports.
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
# PP2_TYPE_SSL, and its bit PP2_CLIENT_SSL.
_TLS_EXTENSION, _CLIENT_USES_TLS = 0x20, 0x01
_SIZES = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX: 216}

_match_line = re.compile(
    r"PROXY TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
).fullmatch
_match_unknown = re.compile(r"PROXY UNKNOWN(?: [ -~]*)?\r\n").fullmatch


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """The facts in a PROXY header. `client` is None if the proxy does not know it.

    `is_own`: the proxy made the connection for itself, such as a health check. `is_secure`: the
    client uses TLS to the proxy.
    """

    client: Address | None = None
    is_own: bool = False
    is_secure: bool = False


def is_start(data: bytes) -> bool:
    """Return True if `data`, the first `SIZE_MIN` bytes of a connection, begins a PROXY header."""
    return data.startswith((_LINE_START, _SIGNATURE))


async def receive(reader: asyncio.StreamReader) -> ProxyHeader:
    """Read the header at the front of a connection, and no byte behind it.

    Raises ValueError for other bytes, EOFError if the connection ends, and TimeoutError after
    `TIMEOUT_SECONDS`.
    """
    async with asyncio.timeout(TIMEOUT_SECONDS):
        start = await reader.readexactly(SIZE_MIN)
        if not is_start(start):
            raise ValueError("it begins with other bytes")
        if start != _SIGNATURE:
            return _parse_line(start + await _rest_of_line(reader))
        kind, family, high, low = await reader.readexactly(4)
        size = high << 8 | low
        if size > _PAYLOAD_SIZE_MAX:
            raise ValueError("the PROXY header is too long")
        return _parse_binary(kind, family, await reader.readexactly(size))


async def _rest_of_line(reader: asyncio.StreamReader) -> bytes:
    rest = bytearray()
    while not rest.endswith(b"\r\n"):
        if SIZE_MIN + len(rest) >= _LINE_SIZE_MAX:
            raise ValueError("the PROXY line is too long")
        rest += await reader.readexactly(1)
    return bytes(rest)


def _parse_line(line: bytes) -> ProxyHeader:
    text = line.decode("latin-1")
    if _match_unknown(text):
        return ProxyHeader()
    match = _match_line(text)
    if match is None:
        raise ValueError("the PROXY line is malformed")
    version, source, target, *ports = match.groups()
    for address in (source, target):
        if ipaddress.ip_address(address).version != int(version):
            raise ValueError("the PROXY line has an address of another family")
    if max(map(int, ports)) > 65_535:
        raise ValueError("the PROXY line has a port above 65535")
    return ProxyHeader((plain_address(source) or source, int(ports[0])))


def _parse_binary(kind: int, family: int, payload: bytes) -> ProxyHeader:
    version, command = kind >> 4, kind & 15
    if version != _VERSION or command not in (_LOCAL, _PROXY):
        raise ValueError("the PROXY header has an unknown version or command")
    if command == _LOCAL:
        return ProxyHeader(is_own=True)
    size = _SIZES.get(family)
    if size is None or len(payload) < size:
        raise ValueError("the PROXY header lacks the addresses of its family")
    is_secure = _says_tls(payload[size:])
    if family not in (_TCP4, _TCP6):
        return ProxyHeader(is_secure=is_secure)
    width = 4 if family == _TCP4 else 16
    source = str(ipaddress.ip_address(payload[:width]))
    port = int.from_bytes(payload[2 * width : 2 * width + 2])
    return ProxyHeader((plain_address(source) or source, port), is_secure=is_secure)


def _says_tls(extensions: bytes) -> bool:
    """Return True if the extensions say that the client uses TLS to the proxy."""
    position = 0
    while position + 3 <= len(extensions):
        kind, high, low = extensions[position : position + 3]
        value = extensions[position + 3 :][: high << 8 | low]
        if kind == _TLS_EXTENSION:
            return bool(value and value[0] & _CLIENT_USES_TLS)
        position += 3 + (high << 8 | low)
    return False
