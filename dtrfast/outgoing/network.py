"""Connections to the addresses of a permit, directly or through the proxy, within a total time.

The HTTP library asks for a host by name. It gets a stream to one of the permit's addresses. TLS and
the Host header still use the name.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore

from dtrfast.outgoing.permit import CallLimits, Permit

_HEAD_SIZE_MAX = 16_384
_match_status = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r)").match


class Deadline:
    """The time at which a call ends, and the time that one of its steps may take."""

    def __init__(self, limits: CallLimits) -> None:
        self._at = time.monotonic() + limits.total_seconds
        self._step_seconds = limits.step_seconds

    def step_seconds(self) -> float:
        """Return the seconds that the next step may take. Raises `httpcore.ReadTimeout` after the
        end of the call.
        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the call takes too long")
        return min(self._step_seconds, left)


class PermittedNetwork(httpcore.NetworkBackend):
    """Connects to the targets of one permit, whatever host the HTTP library names."""

    def __init__(self, permit: Permit, deadline: Deadline) -> None:
        self._permit = permit
        self._deadline = deadline
        self._tcp = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Return a stream to the first target that answers. Raises httpcore's exceptions."""
        error: Exception = httpcore.ConnectError("there is no address to connect to")
        for target in self._permit.targets:
            try:
                return self._connect(target)
            except (httpcore.NetworkError, httpcore.TimeoutException) as failed:
                error = failed
        raise error

    def _connect(self, target: str) -> httpcore.NetworkStream:
        host, port = self._permit.proxy or (target, self._permit.port)
        seconds = self._deadline.step_seconds()
        raw = self._tcp.connect_tcp(host, port, timeout=seconds, socket_options=())
        stream = _BoundedStream(raw, self._deadline)
        if self._permit.proxy is not None:
            try:
                _open_tunnel(stream, target, self._permit.port)
            except BaseException:
                stream.close()
                raise
        return stream


class _BoundedStream(httpcore.NetworkStream):
    """A stream, each step of which ends before the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.step_seconds())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.step_seconds())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        seconds = self._deadline.step_seconds()
        secure = self._stream.start_tls(ssl_context, server_hostname, seconds)
        return _BoundedStream(secure, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _open_tunnel(stream: httpcore.NetworkStream, host: str, port: int) -> None:
    """Ask a proxy to connect to a host (RFC 9110 section 9.3.6). Raises `httpcore.ProxyError`."""
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    stream.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode("ascii"))
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD_SIZE_MAX:
        piece = stream.read(4096)
        if not piece:
            break
        head += piece
    status = _match_status(head)
    # In TLS and in HTTP the client speaks first, so bytes after the head are not the server's.
    if status is None or head.partition(b"\r\n\r\n")[1:] != (b"\r\n\r\n", b""):
        raise httpcore.ProxyError("outgoing.proxy is not an HTTP proxy")
    if not status[1].startswith(b"2"):
        raise httpcore.ProxyError(f"outgoing.proxy refuses with status {status[1].decode()}")
