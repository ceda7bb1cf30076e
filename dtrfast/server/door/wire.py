"""Response heads as they go out (RFC 9112 section 4)."""

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
    """The `date` header, made once a second."""

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
    """The head with its empty line. `headers` are valid: nothing is checked here."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    return b"%b%b%b\r\n" % (status_line(status), lines, date_line)


def chunk(data: bytes) -> bytes:
    """`data`, which is not empty, in the chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def has_body(method: str, status: int) -> bool:
    """Whether an answer has content at all (RFC 9110 section 6.4.1)."""
    return method != "HEAD" and status >= 200 and status not in (204, 304)


def status_line(status: int) -> bytes:
    known = _STATUS_LINES.get(status)
    return b"HTTP/1.1 %d \r\n" % status if known is None else known
