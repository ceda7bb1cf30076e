"""A connection's socket for a thread: plain, or with TLS. Nothing here waits.

A method raises BlockingIOError if it can do nothing now. The descriptor is a duplicate, so it stays
open when the connection closes.
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
from dtrfast.server.door.secure_transport import SecureTransport
from dtrfast.server.door.tls_records import PIECE_SIZE
from dtrfast.store.blobs import Extent

# Bytes that a limited socket holds unsent, and at most a packet of 64 KiB more. Without a limit the
# kernel holds 4 MiB, which were read or decompressed for a client that may be gone.
_UNSENT_SIZE_MAX = 416 * 1024
# Bytes in one call of sendfile. A larger call would last for a whole blob if the client keeps up.
_SENDFILE_SIZE_MAX = 8 << 20


def limit_unsent(connection: socket.socket, *, limited: bool) -> None:
    """Bound the bytes that the kernel holds unsent, or let the system's limit hold."""
    size = _UNSENT_SIZE_MAX if limited else 0
    with contextlib.suppress(OSError):  # the client is gone, or it is a Unix socket
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)


class PlainSocket:
    """A plain socket. It owns `connection`, and closes it at the end of the `with` block."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def readable_size(self) -> int:
        """Return about the count of bytes that can be received; 0 only if there are none."""
        answer = fcntl.ioctl(self._socket, termios.FIONREAD, b"\0\0\0\0")
        return int(struct.unpack("i", answer)[0])

    def receive_into(self, view: memoryview) -> int:
        """Return the count of received bytes; 0 if the client sends nothing more."""
        return self._socket.recv_into(view)

    def send(self, data: bytes | memoryview, *, more: bool = False) -> int:
        """Return the count of bytes that the kernel took. Raises ConnectionError.

        `more`: more bytes follow at once, so the kernel may wait for them.
        """
        return self._socket.send(data, socket.MSG_MORE if more else 0)

    def send_extent(self, extent: Extent, position: int) -> int:
        """Send from `position` of the extent on; return the count of bytes taken.

        Raises ConnectionError, `StorageFailed` or `Corrupt`.
        """
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
        """Send the bytes that `send` took and did not send."""


class _Scratch(threading.local):
    """A thread's buffer for bytes that it decrypts or encrypts."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(PIECE_SIZE))


_scratch = _Scratch()


class SecureSocket(PlainSocket):
    """A socket with TLS. It borrows the records of `secure` for the `with` block."""

    def __init__(self, connection: socket.socket, secure: SecureTransport) -> None:
        super().__init__(connection)
        self._secure = secure
        self._ssl = secure.records.ssl
        self._incoming = secure.records.incoming
        self._outgoing = secure.records.outgoing
        self._starved = False  # the received bytes make no whole record
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
            if self._starved:
                try:
                    count = self._socket.recv_into(_scratch.view)
                except BlockingIOError:
                    break
                self._incoming.write(_scratch.view[:count])
                self._starved = False
                self._ended = count == 0  # a client may close without a close_notify
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


def _unreadable(error: OSError) -> StorageFailed:
    return StorageFailed(f"the disk could not be read: {error.strerror}")


def _too_short() -> Corrupt:
    return Corrupt("a file is shorter than the index says")
