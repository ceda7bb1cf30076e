"""TLS for a client of bytes. Unlike Python's socket it can end its side and go on reading."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path


def context(authority: Path) -> ssl.SSLContext:
    """Return a context that trusts only this authority."""
    return ssl.create_default_context(cafile=str(authority))


class CutWithoutGoodbye(ConnectionResetError):
    """The connection ended without a close_notify, so its bytes may be incomplete."""


class TlsSocket:
    """A connected socket with TLS, with the methods that `Wire` needs."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")
        while True:
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                self._exchange()
            else:
                break
        self._send()

    def sendall(self, data: bytes) -> None:
        self._ssl.write(data)
        self._send()

    def recv(self, size: int) -> bytes:
        """Receive bytes; empty after the server's close_notify. A cut raises CutWithoutGoodbye."""
        while True:
            try:
                return self._ssl.read(size)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                self._exchange()

    def shutdown(self, how: int) -> None:
        """Send a close_notify. The client can read on."""
        assert how == socket.SHUT_WR
        with contextlib.suppress(ssl.SSLWantReadError):
            self._ssl.unwrap()
        self._send()

    def close(self) -> None:
        self._plain.close()

    def _exchange(self) -> None:
        self._send()
        data = self._plain.recv(1 << 16)
        if not data:
            raise CutWithoutGoodbye("the connection was cut without a goodbye")
        self._incoming.write(data)

    def _send(self) -> None:
        self._plain.sendall(self._outgoing.read())
