"""The bytes of response heads and chunks (RFC 9112 sections 4 and 7.1)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Headers = Iterable[tuple[bytes, bytes]]

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class Dates:
    """The line of the `date` header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = b"date: " + formatdate(second, usegmt=True).encode() + b"\r\n"
        return self._line


def response_head(status: int, headers: Headers, date_line: bytes) -> bytes:
    """Return the head with its empty line. The caller guarantees that `headers` are valid."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    return b"%b%b%b\r\n" % (status_line(status), lines, date_line)


def chunk(data: bytes) -> bytes:
    """Return `data` in the chunked transfer coding. It must not be empty: that ends a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def has_body(method: str, status: int) -> bool:
    """Return True if a response may have content (RFC 9110 section 6.4.1)."""
    return method != "HEAD" and status >= 200 and status not in (204, 304)


def status_line(status: int) -> bytes:
    known = _STATUS_LINES.get(status)
    return b"HTTP/1.1 %d \r\n" % status if known is None else known
