"""TLS over a plain connection, which the event loop or a thread can encrypt and decrypt.

The TLS of uvloop works on the event loop only, and its state is private. `SecureTransport` works
on the event loop for all but transfers: it is the protocol of the plain transport, and the
transport of the protocol inside. During a transfer a `SecureSocket` lends its records to one thread
at a time. The event loop then neither reads nor writes, and may only abort the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from typing import Any, cast

from dtrfast.server.door.client_hello import ClientHello
from dtrfast.server.door.tls_records import PIECE_SIZE, TlsRecords
from dtrfast.server.tls import HANDSHAKE_TIMEOUT_SECONDS

log = logging.getLogger("dtrfast.door")

# The text of Go's server. Clients report it well.
_NO_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


class SecureTransport(asyncio.Protocol, asyncio.Transport):
    """One connection's TLS: the protocol of the plain transport, and the transport of a door.

    Await `shaken`, then set a protocol.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext, plain: asyncio.Transport
    ) -> None:
        """Take the place of `plain`'s protocol, which becomes the protocol of this transport."""
        super().__init__()
        self._loop = loop
        self._plain = plain
        self._protocol = cast(asyncio.Protocol, plain.get_protocol())
        self._hello = ClientHello()
        self.records = TlsRecords(context)
        # True after a handshake, False if the connection ends without one.
        self.shaken: asyncio.Future[bool] = loop.create_future()
        self._is_reading = True
        self._is_lent = False
        self._has_left = False  # the server sent its close_notify, or the connection failed
        self._timer = loop.call_later(HANDSHAKE_TIMEOUT_SECONDS, self.abort)
        plain.set_protocol(self)

    # ---- called by the event loop ---------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        if self._has_left or self.records.has_ended:
            return
        self.records.incoming.write(data)
        if self.shaken.done():
            if not self._decrypt() and self._is_wanted():
                # The door learns of an incomplete record, which may begin a request's head.
                begin = getattr(self._protocol, "begin_record", None)
                if begin is not None:  # Hypercorn's protocols have none
                    begin()
        elif self._hello.accept(data):
            self._shake_hands()
        else:
            log.info("closed a connection: its TLS hello is too long, or split into tiny records")
            self.abort()

    def eof_received(self) -> bool:
        """Return True, to keep the connection open, only if a close_notify came.

        Without a close_notify an attacker may have cut the stream, so no response is sent.
        """
        return self.records.has_ended

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._has_left = True
        self._timer.cancel()
        if not self.shaken.done():
            self.shaken.set_result(False)
        self._protocol.connection_lost(error)

    # ---- called by the protocol -----------------------------------------------------------------
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self.records.ssl
        return self._plain.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def pause_reading(self) -> None:
        self._is_reading = False
        self._follow()

    def resume_reading(self) -> None:
        self._is_reading = True
        self._follow()

    def lend(self) -> None:
        """Read nothing until `take_back`, so that a thread may use `records`."""
        self._is_lent = True
        self._follow()

    def take_back(self) -> None:
        self._is_lent = False
        self._follow()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._has_left:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[self.records.ssl.write(view[:PIECE_SIZE]) :]
                self._send()
        except ssl.SSLError as error:
            self._fail(error)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Send a close_notify. Bytes that arrive later are dropped."""
        if self._has_left:
            return
        self._has_left = True
        # This call sends the close_notify, then fails because it cannot wait for the client's.
        with contextlib.suppress(ssl.SSLError):
            self.records.ssl.unwrap()
        self._send()

    def close(self) -> None:
        self.write_eof()
        self._plain.close()

    def close_idle(self) -> None:
        """Abort the handshake, because the idle time is over or the server stops."""
        self.abort()

    def abort(self) -> None:
        """Close at once. Without a close_notify the client knows that its data is incomplete."""
        self._has_left = True
        self._plain.abort()

    def is_closing(self) -> bool:
        return self._plain.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._plain.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._plain.set_write_buffer_limits(high, low)

    # ---- records --------------------------------------------------------------------------------
    def _shake_hands(self) -> None:
        try:
            self.records.ssl.do_handshake()
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
        """Start or stop the reading of the plain connection, as the flags say."""
        if self._plain.is_closing():
            return
        if self._is_lent or not self._is_reading:
            self._plain.pause_reading()
        else:
            self._plain.resume_reading()
            self._loop.call_soon(self._decrypt)

    def _is_wanted(self) -> bool:
        return self._is_reading and not self._is_lent and not self._has_left

    def _decrypt(self) -> bool:
        """Pass on the content of all whole records; return True if there was any."""
        has_content = False
        if not self._is_wanted():
            return False
        try:
            while self._is_wanted() and self.records.has_records():
                data = self.records.read()
                if self.records.has_ended:
                    self._loop.call_soon(self._end)
                if not data:
                    break
                has_content = True
                self._protocol.data_received(data)
        except ssl.SSLError as error:
            self._fail(error)
            return False
        self._send()  # TLS itself may have to answer
        return has_content

    def _end(self) -> None:
        if not self._protocol.eof_received():
            self.close()

    def _send(self) -> None:
        if self.records.outgoing.pending:
            self._plain.write(self.records.outgoing.read())

    def _fail(self, error: ssl.SSLError) -> None:
        """Send the alert that OpenSSL made of the error, if there is one, and close."""
        log.debug("TLS failed: %s", error)
        self._has_left = True
        self._send()
        self._plain.close()
