"""A connection's socket for a thread: plain, or with TLS on it. Nothing here waits.

Methods raise BlockingIOError where they can do nothing now. Each works on a duplicate of the
descriptor, which no close of the connection takes away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import ssl
import struct
import termios
import threading
from typing import Self, cast

from dtrfast.errors import Corrupt, StorageFailed
from dtrfast.server.door.secure import PIECE_SIZE, Secure
from dtrfast.store.blobs import Extent

# Bytes that a limited socket takes before it sends them; it may take a packet of 64 KiB more. With
# no limit the kernel takes 4 MiB, read or decompressed for a client that may be gone.
_UNSENT_SIZE_MAX = 416 * 1024
# Bytes in one call of sendfile: it would go on for a whole blob if the client keeps up.
_SENDFILE_SIZE_MAX = 8 << 20


def limit_unsent(connection: socket.socket, *, limited: bool) -> None:
    """Let the socket take little before it is sent, or as much as the system lets it."""
    size = _UNSENT_SIZE_MAX if limited else 0
    with contextlib.suppress(OSError):  # a client that is gone, or a Unix socket
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)


class PlainSocket:
    """Owns `connection`, and closes it at the end of its block."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def readable_size(self) -> int:
        """About as many bytes can be received; 0 only if there are none."""
        answer = fcntl.ioctl(self._socket, termios.FIONREAD, b"\0\0\0\0")
        return int(struct.unpack("i", answer)[0])

    def receive_into(self, view: memoryview) -> int:
        """0 when the client sends nothing more."""
        return self._socket.recv_into(view)

    def send(self, data: bytes | memoryview, *, more: bool = False) -> int:
        """Bytes taken, which the kernel may hold back for a moment when there are `more`. Raises
        ConnectionError.
        """
        return self._socket.send(data, socket.MSG_MORE if more else 0)

    def send_extent(self, extent: Extent, position: int) -> int:
        """Bytes taken from `position` of it. Raises `StorageFailed`, `Corrupt`."""
        count = min(extent.length - position, _SENDFILE_SIZE_MAX)
        try:
            sent = os.sendfile(self.fileno(), extent.descriptor, extent.offset + position, count)
        except (BlockingIOError, ConnectionError):
            raise
        except OSError as error:
            raise _unreadable(error) from error
        if sent == 0:
            raise _too_short()
        return sent

    def flush(self) -> None:
        """Send what `send` has taken and not sent."""


class _Scratch(threading.local):
    """Where a thread puts what it is about to decrypt or encrypt."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(PIECE_SIZE))


_scratch = _Scratch()


class SecureSocket(PlainSocket):
    """Borrows the state of `secure` for its block."""

    def __init__(self, connection: socket.socket, secure: Secure) -> None:
        super().__init__(connection)
        self._secure = secure
        self._ssl = secure.ssl
        self._incoming = secure.incoming
        self._outgoing = secure.outgoing
        self._starved = False  # what is here makes no whole record
        self._ended = False
        self._unsent = memoryview(b"")

    def __enter__(self) -> Self:
        self._secure.lend()
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._secure.take_back()

    def readable_size(self) -> int:
        here = 0 if self._starved else self._incoming.pending + self._ssl.pending()
        return here + super().readable_size()

    def receive_into(self, view: memoryview) -> int:
        size = 0
        while size < len(view) and not self._ended:
            if self._starved and not self._take_records():
                break
            size += self._decrypt_into(view[size:])
        if size == 0 and not self._ended:
            raise BlockingIOError
        return size

    def send(self, data: bytes | memoryview, *, more: bool = False) -> int:
        self.flush()
        try:
            taken = self._ssl.write(memoryview(data)[:PIECE_SIZE])
        except ssl.SSLError as error:
            raise ConnectionAbortedError from error
        self._unsent = memoryview(self._outgoing.read())
        with contextlib.suppress(BlockingIOError):
            self.flush()
        return taken

    def send_extent(self, extent: Extent, position: int) -> int:
        self.flush()
        view = _scratch.view[: extent.length - position]
        try:
            count = os.preadv(extent.descriptor, [view], extent.offset + position)
        except OSError as error:
            raise _unreadable(error) from error
        if count == 0:
            raise _too_short()
        return self.send(view[:count])

    def flush(self) -> None:
        while self._unsent:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def _decrypt_into(self, view: memoryview) -> int:
        size = 0
        try:
            while size < len(view):
                # The standard library's stub forgets that with a buffer this is a count.
                count = cast(int, self._ssl.read(len(view) - size, view[size:]))
                if count == 0:
                    self._ended = True
                    break
                size += count
        except ssl.SSLWantReadError:
            self._starved = True
        return size

    def _take_records(self) -> bool:
        """False when none are there. A client that leaves without a goodbye has ended as well."""
        try:
            count = self._socket.recv_into(_scratch.view)
        except BlockingIOError:
            return False
        self._incoming.write(_scratch.view[:count])
        self._starved = False
        self._ended = count == 0
        return True


def _unreadable(error: OSError) -> StorageFailed:
    return StorageFailed(f"the disk could not be read: {error.strerror}")


def _too_short() -> Corrupt:
    return Corrupt("a file is shorter than the index says")
