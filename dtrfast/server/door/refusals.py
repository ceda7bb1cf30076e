"""Responses to bytes that are no acceptable request. The connection closes after each."""

from __future__ import annotations

from dtrfast.server.door.wire import response_head

_MALFORMED = (
    b'{"errors":[{"code":"UNSUPPORTED","message":"malformed request: the server expects '
    b'HTTP/1.1 with a head of limited size and one content length"}]}'
)
_LATE = (
    b'{"errors":[{"code":"UNSUPPORTED","message":"the request head did not arrive in time: '
    b'send it again on a new connection"}]}'
)
# Too long, malformed, and late heads.
_BODIES = {400: _MALFORMED, 408: _LATE, 431: _MALFORMED}


def refusal(status: int, date_line: bytes) -> bytes:
    """Return the whole response with status 400, 408 or 431."""
    body = _BODIES[status]
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (b"docker-distribution-api-version", b"registry/2.0"),
    ]
    return response_head(status, headers, date_line) + body
