"""Headers of the PROXY protocol: accepted and refused ones, and the bytes that are consumed."""

from __future__ import annotations

import asyncio
import socket

import pytest

from dtrfast.server.door import proxy_header
from dtrfast.server.door.proxy_header import ProxyHeader, receive

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
BEHIND = b"GET / HTTP/1.1\r\n\r\n"
CLIENT = ProxyHeader(("203.0.113.9", 61000))
UNKNOWN = ProxyHeader()
V4 = socket.inet_aton("203.0.113.9") + socket.inet_aton("192.0.2.1") + b"\xee\x48\x01\xbb"
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1") * 2 + b"\xee\x48\x01\xbb"
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:203.0.113.9") * 2 + b"\xee\x48\x01\xbb"


def binary(kind: int, family: int, payload: bytes) -> bytes:
    return SIGNATURE + bytes([kind, family]) + len(payload).to_bytes(2) + payload


# An extension of another kind. The one of TLS has flags, the result of a check, and more.
OTHER = b"\x04\x00\x03abc"
SECURE = ProxyHeader(("203.0.113.9", 61000), is_secure=True)

TAKEN = {
    b"PROXY TCP4 203.0.113.9 192.0.2.1 61000 443\r\n": CLIENT,
    b"PROXY TCP6 2001:DB8::1 ::1 61000 443\r\n": ProxyHeader(("2001:db8::1", 61000)),
    b"PROXY TCP6 ::ffff:203.0.113.9 ::ffff:192.0.2.1 61000 443\r\n": CLIENT,
    b"PROXY TCP4 203.0.113.9 192.0.2.1 0 65535\r\n": ProxyHeader(("203.0.113.9", 0)),
    b"PROXY UNKNOWN\r\n": UNKNOWN,
    b"PROXY UNKNOWN " + b"f" * 90 + b"\r\n": UNKNOWN,
    binary(0x21, 0x11, V4): CLIENT,
    binary(0x21, 0x11, V4 + b"\x04\x00\x03abc" + b"\x03\x00\x04...."): CLIENT,
    binary(0x21, 0x11, V4 + b"\xff" * 4084): CLIENT,
    binary(0x21, 0x11, V4 + OTHER + b"\x20\x00\x05\x01\x00\x00\x00\x00"): SECURE,
    binary(0x21, 0x11, V4 + b"\x20\x00\x0c\x07\x00\x00\x00\x00\x21\x00\x04TLSv"): SECURE,
    binary(0x21, 0x11, V4 + b"\x20\x00\x05\x06\x00\x00\x00\x00"): CLIENT,
    binary(0x21, 0x11, V4 + b"\x20\x00\x00"): CLIENT,
    binary(0x21, 0x11, V4 + b"\x20\x00"): CLIENT,
    binary(0x21, 0x11, V4 + b"\x04\xff\xff" + b"\x20\x00\x05\x01...."): CLIENT,
    binary(0x21, 0x21, V6): ProxyHeader(("2001:db8::1", 61000)),
    binary(0x21, 0x21, MAPPED): CLIENT,
    binary(0x21, 0x31, b"/run/x".ljust(216, b"\0")): UNKNOWN,
    binary(0x21, 0x00, b""): UNKNOWN,
    binary(0x21, 0x00, b"\xff" * 100): UNKNOWN,
    binary(0x20, 0x00, b""): ProxyHeader(is_own=True),
    binary(0x20, 0x11, V4): ProxyHeader(is_own=True),
    binary(0x20, 0x77, b"?"): ProxyHeader(is_own=True),
}
REFUSED = [
    BEHIND,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS handshake",
    b"PROXY\r\n" + BEHIND,
    b"PROXY  TCP4 203.0.113.9 192.0.2.1 61000 443\r\n",
    b"proxy TCP4 203.0.113.9 192.0.2.1 61000 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 61000\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 61000 443 1\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 61000 443\n" + BEHIND,
    b"PROXY TCP4 203.0.113.9 192.0.2.1 65536 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 061 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 -1 443\r\n",
    b"PROXY TCP4 203.0.113.999 192.0.2.1 1 443\r\n",
    b"PROXY TCP4 0203.0.113.9 192.0.2.1 1 443\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 1 443\r\n",
    b"PROXY TCP6 203.0.113.9 192.0.2.1 1 443\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 443\r\n",
    b"PROXY TCP5 203.0.113.9 192.0.2.1 1 443\r\n",
    b"PROXY UDP4 203.0.113.9 192.0.2.1 1 443\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY UNKNOWN \x00\r\n",
    b"PROXY UNKNOWN " + b"f" * 94 + b"\r\n",
    b"PROXY " + b"A" * 70_000,
    SIGNATURE[:-1] + b"\r" + b"\x21\x11\x00\x0c" + V4,
    binary(0x11, 0x11, V4),
    binary(0x31, 0x11, V4),
    binary(0x22, 0x11, V4),
    binary(0x2F, 0x11, V4),
    binary(0x21, 0x12, V4),
    binary(0x21, 0x22, V6),
    binary(0x21, 0x41, V6),
    binary(0x21, 0x10, V4),
    binary(0x21, 0x11, V4[:-1]),
    binary(0x21, 0x11, b""),
    binary(0x21, 0x21, V4),
    binary(0x21, 0x31, b"/run/x"),
    binary(0x21, 0x11, V4 + b"\xff" * 4085),
]


def take(*pieces: bytes) -> tuple[ProxyHeader, bytes]:
    """Return the header at the front of the pieces, and the bytes that are left behind it."""

    async def run() -> tuple[ProxyHeader, bytes]:
        reader = asyncio.StreamReader()
        for piece in pieces:
            reader.feed_data(piece)
        reader.feed_eof()
        return await receive(reader), await reader.read()

    return asyncio.run(run())


def test_a_header_names_the_client_and_takes_nothing_behind_it() -> None:
    assert {data: take(data, BEHIND) for data in TAKEN} == {
        data: (header, BEHIND) for data, header in TAKEN.items()
    }


def test_what_is_no_header_is_refused() -> None:
    for data in REFUSED:
        with pytest.raises(ValueError):  # noqa: PT011 - the texts differ
            take(data, BEHIND)


def test_a_header_that_is_cut_is_none() -> None:
    for data in (b"PROXY TCP4 203.0.113.9 192.0.2.1 61000 443\r\n", binary(0x21, 0x11, V4)):
        for size in range(len(data)):
            with pytest.raises(EOFError):
                take(data[:size])


def test_a_header_may_come_byte_by_byte_and_has_to_come_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert take(*(bytes([octet]) for octet in binary(0x21, 0x11, V4)))[0] == CLIENT
    monkeypatch.setattr(proxy_header, "TIMEOUT_SECONDS", 0.01)

    async def wait() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(b"PROXY ")
        await receive(reader)

    with pytest.raises(TimeoutError):
        asyncio.run(wait())
