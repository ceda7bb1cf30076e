"""Chunked bodies that two readers may end in different places.

A request that needs the body gets 400. Another one may get its usual answer. The connection closes
in any case. Nothing is stored but the bytes that an upload received before the first wrong octet.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.door.corpus.case import MANIFEST, POISON, Case
from tests.door.corpus.framing import CARRIERS

_SIZE = b"%x" % len(MANIFEST)
_LAST = b"\r\n0\r\n\r\n"
_CHUNK = _SIZE + b"\r\n" + MANIFEST + b"\r\n"


def _sized(size: bytes) -> bytes:
    """Return one chunk with the size in this spelling, and the end of the body."""
    return size + b"\r\n" + MANIFEST + _LAST


# Each is followed by a request that must never be answered.
BODIES = {
    "size of 2^63": _sized(b"8000000000000000"),
    "size of 2^64": _sized(b"10000000000000000"),
    "size of 2^64 more": _sized(b"1%016x" % len(MANIFEST)),
    "size of 2^32 more in 64 digits": _sized(b"1%08x" % len(MANIFEST) + b"0" * 55),
    "seventeen digits": _sized(b"%017x" % len(MANIFEST)),
    "a thousand zeros": _sized(b"0" * 1000 + _SIZE),
    "plus": _sized(b"+" + _SIZE),
    "minus": _sized(b"-" + _SIZE),
    "minus zero": b"-0\r\n\r\n",
    "prefix 0x": _sized(b"0x" + _SIZE),
    "suffix h": _sized(_SIZE + b"h"),
    "underscore": _sized(b"5_a"),
    "wide digits": _sized("\uff15a".encode()),
    "comma": _sized(_SIZE + b",0"),
    "decimal point": _sized(_SIZE + b".0"),
    "quoted size": _sized(b'"' + _SIZE + b'"'),
    "no size": _sized(b""),
    "space before size": _sized(b" " + _SIZE),
    "space behind size": _sized(_SIZE + b" "),
    "tab behind size": _sized(_SIZE + b"\t"),
    "NUL behind size": _sized(_SIZE + b"\0"),
    "vertical tab behind size": _sized(_SIZE + b"\x0b"),
    "extension": _sized(_SIZE + b";a=b"),
    "extension without name": _sized(_SIZE + b";"),
    "extension with a bare LF": _sized(_SIZE + b";a\nb"),
    "extension with a quoted line end": _sized(_SIZE + b';a="\r\n"'),
    "extension behind a space": _sized(_SIZE + b" ;a"),
    "extension of the last chunk": _CHUNK + b"0;a\r\n\r\n",
    "bare LF behind size": _SIZE + b"\n" + MANIFEST + _LAST,
    "bare CR behind size": _SIZE + b"\r" + MANIFEST + _LAST,
    "LF CR behind size": _SIZE + b"\n\r" + MANIFEST + _LAST,
    "CR CR LF behind size": _SIZE + b"\r\r\n" + MANIFEST + _LAST,
    "bare LF behind data": _SIZE + b"\r\n" + MANIFEST + b"\n0\r\n\r\n",
    "bare CR behind data": _SIZE + b"\r\n" + MANIFEST + b"\r0\r\n\r\n",
    "nothing behind data": _SIZE + b"\r\n" + MANIFEST + b"0\r\n\r\n",
    "anything behind data": _SIZE + b"\r\n" + MANIFEST + b"xx0\r\n\r\n",
    "space behind data": _SIZE + b"\r\n" + MANIFEST + b" \r\n0\r\n\r\n",
    "LF only": b"%b\n%b\n0\n\n" % (_SIZE, MANIFEST),
    "CR only": b"%b\r%b\r0\r\r" % (_SIZE, MANIFEST),
    "chunk too short": b"%x\r\n" % (len(MANIFEST) - 1) + MANIFEST + _LAST,
    "chunk too long": b"%x\r\n" % (len(MANIFEST) + 1) + MANIFEST + _LAST,
    "bare LF behind the last chunk": _CHUNK + b"0\n\r\n",
    "bare LF at the end": _CHUNK + b"0\r\n\n",
    "bare CR at the end": _CHUNK + b"0\r\n\r",
    "request in the trailer": _CHUNK + b"0\r\n",
    "folded trailer": _CHUNK + b"0\r\na: b\r\n c\r\n\r\n",
    "trailer with a bare LF": _CHUNK + b"0\r\na: b\n\r\n",
    "trailer with a bare CR": _CHUNK + b"0\r\na: b\rc: d\r\n\r\n",
    "trailer with NUL": _CHUNK + b"0\r\na: \0\r\n\r\n",
    "trailer without colon": _CHUNK + b"0\r\nabc\r\n\r\n",
    "trailer without name": _CHUNK + b"0\r\n: b\r\n\r\n",
    "trailer with a space before its colon": _CHUNK + b"0\r\na : b\r\n\r\n",
    "trailer of one large line": _SIZE
    + b"\r\n"
    + MANIFEST
    + b"\r\n0\r\na:"
    + b"b" * 9000
    + b"\r\n",
    "trailer of many lines": _SIZE
    + b"\r\n"
    + MANIFEST
    + b"\r\n0\r\n"
    + b"a: b\r\n" * 2000
    + b"\r\n",
    "no chunk at all": MANIFEST,
}


# Statuses of requests that need no body.
_WITHOUT_BODY = {"begin": 202, "pull": 200, "probe": 404}


def cases(carrier: str) -> Iterator[Case]:
    """Yield all rows as the body of one request."""
    head = CARRIERS[carrier] + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    method = head.split(b" ")[0].decode()
    status = _WITHOUT_BODY.get(carrier, 400)
    for name, body in BODIES.items():
        yield Case(f"{carrier}: {name}", head + body + POISON, (status,), methods=(method,))
