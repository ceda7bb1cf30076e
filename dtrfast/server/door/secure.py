"""TLS over a plain connection, whose records can be made and opened on a thread as well.

uvloop's own TLS does all of it on the event loop and keeps its state to itself. `Secure` does the
small things there: it is the protocol of the plain transport, and the transport of whoever speaks
inside. During a transfer a `SecureSocket` lends `ssl` and its buffers to one thread at a time; the
event loop then neither reads nor writes, and may only cut the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from typing import Any, cast

from dtrfast.server.tls import HANDSHAKE_TIMEOUT_SECONDS

log = logging.getLogger("dtrfast.door")

# OpenSSL's memory buffers never shrink, so this is what a connection keeps of a transfer, twice.
# Larger pieces were not faster.
PIECE_SIZE = 64 * 1024

# OpenSSL takes memory for a hello as soon as the hello says how long it is, and up to 128 KiB of
# it. Those of real clients are below 4 KiB, with post-quantum keys.
_HELLO_SIZE_MAX = 16 * 1024
_HANDSHAKE, _CLIENT_HELLO = 22, 1
# A record's type, version and length, then a message's type and length.
_HELLO_HEAD_SIZE = 9

# In the words of Go's server, which clients know how to report.
_NO_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


class Secure(asyncio.Protocol, asyncio.Transport):
    """One connection's TLS. Await `shaken`, then give it a protocol."""

    # Where all connections of the event loop are decrypted, one at a time.
    _scratch = memoryview(bytearray(PIECE_SIZE))

    def __init__(
        self, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext, plain: asyncio.Transport
    ) -> None:
        """`plain` gets this as its protocol; what was its protocol is spoken inside at first."""
        super().__init__()
        self._loop = loop
        self._plain = plain
        self._protocol = cast(asyncio.Protocol, plain.get_protocol())
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.shaken: asyncio.Future[bool] = loop.create_future()
        self._reading = True
        self._lent = False
        self._hello = b""  # the first bytes
        self._ended = False  # the client said that it sends nothing more
        self._left = False  # we said so, or the connection is no use any more
        self._timer = loop.call_later(HANDSHAKE_TIMEOUT_SECONDS, self.abort)
        plain.set_protocol(self)

    # ---- called by the event loop ---------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        if self._left or self._ended:
            return
        self.incoming.write(data)
        if self.shaken.done():
            if not self._decrypt() and self._is_wanted():
                self._begin_record()
        elif self._is_hello(data):
            self._shake_hands()
        else:
            log.info("a TLS hello is longer than any client's, or cut into tiny records")
            self.abort()

    def eof_received(self) -> bool:
        """Without the client's goodbye somebody else may have cut it off: nothing is answered."""
        return self._ended

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._left = True
        self._timer.cancel()
        if not self.shaken.done():
            self.shaken.set_result(False)
        self._protocol.connection_lost(error)

    # ---- called by the protocol -----------------------------------------------------------------
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.ssl if name == "ssl_object" else self._plain.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def pause_reading(self) -> None:
        self._reading = False
        self._follow()

    def resume_reading(self) -> None:
        self._reading = True
        self._follow()

    def lend(self) -> None:
        """Read nothing until `take_back`, so that a thread has `ssl` and its buffers to itself."""
        self._lent = True
        self._follow()

    def take_back(self) -> None:
        self._lent = False
        self._follow()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._left:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[self.ssl.write(view[:PIECE_SIZE]) :]
                self._send()
        except ssl.SSLError as error:
            self._fail(error)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Say goodbye. What comes from now on is dropped."""
        if self._left:
            return
        self._left = True
        # It is said by the first half of this call; the second half waits for the client's.
        with contextlib.suppress(ssl.SSLError):
            self.ssl.unwrap()
        self._send()

    def close(self) -> None:
        self.write_eof()
        self._plain.close()

    def close_idle(self) -> None:
        """The server stops before hands were shaken."""
        self.abort()

    def abort(self) -> None:
        """Without a goodbye, so that the client takes nothing for whole that is not."""
        self._left = True
        self._plain.abort()

    def is_closing(self) -> bool:
        return self._plain.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._plain.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._plain.set_write_buffer_limits(high, low)

    # ---- records --------------------------------------------------------------------------------
    def _is_hello(self, data: bytes) -> bool:
        """True if the first bytes may begin a hello of usual size, or are no TLS at all."""
        missing = _HELLO_HEAD_SIZE - len(self._hello)
        if missing <= 0:
            return True
        self._hello += data[:missing]
        head = self._hello
        if len(head) < _HELLO_HEAD_SIZE or head[0] != _HANDSHAKE or head[5] != _CLIENT_HELLO:
            return True
        record_size, hello_size = int.from_bytes(head[3:5]), int.from_bytes(head[6:9])
        return record_size >= 4 and hello_size <= _HELLO_SIZE_MAX

    def _shake_hands(self) -> None:
        try:
            self.ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                self._plain.write(_NO_TLS)
            self._fail(error)
        else:
            self._send()
            self._timer.cancel()
            self.shaken.set_result(True)
            self._loop.call_soon(self._decrypt)  # a request may have come in the same packet

    def _follow(self) -> None:
        """Read from the plain connection, or not, as is wanted now."""
        if self._plain.is_closing():
            return
        if self._lent or not self._reading:
            self._plain.pause_reading()
        else:
            self._plain.resume_reading()
            self._loop.call_soon(self._decrypt)

    def _is_wanted(self) -> bool:
        return self._reading and not self._lent and not self._left

    def _decrypt(self) -> bool:
        """Hand on what can be read; returns whether that was anything."""
        found = False
        if not self._is_wanted():
            return False
        try:
            while self._is_wanted() and (data := self._read()):
                found = True
                self._protocol.data_received(data)
        except ssl.SSLError as error:
            self._fail(error)
            return False
        self._send()  # an answer of TLS itself
        return found

    def _begin_record(self) -> None:
        """Tell the protocol that bytes came which are no whole record: a head may have begun."""
        begin = getattr(self._protocol, "begin_record", None)  # a door has it, Hypercorn has not
        if begin is not None:
            begin()

    def _read(self) -> bytes:
        size = 0
        try:
            while size < PIECE_SIZE and self._has_records():
                # The standard library's stub forgets that with a buffer this is a count.
                count = cast(int, self.ssl.read(PIECE_SIZE - size, self._scratch[size:]))
                size += count
                if count == 0:
                    self._ended = True
                    self._loop.call_soon(self._end)
        except ssl.SSLWantReadError:
            pass  # the last record is not whole
        return bytes(self._scratch[:size])

    def _has_records(self) -> bool:
        """Whether there are any, perhaps not whole ones, that are still of interest."""
        return not self._ended and (self.incoming.pending > 0 or self.ssl.pending() > 0)

    def _end(self) -> None:
        if not self._protocol.eof_received():
            self.close()

    def _send(self) -> None:
        if self.outgoing.pending:
            self._plain.write(self.outgoing.read())

    def _fail(self, error: ssl.SSLError) -> None:
        """Tell the client what is wrong, if it can be told, and close."""
        log.debug("TLS failed: %s", error)
        self._left = True
        self._send()
        self._plain.close()
