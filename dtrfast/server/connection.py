"""Hypercorn's connection, with two things added and two put right.

A lingering close: when the server closes while the client is still sending, the kernel would answer
the rest with a reset, and that can destroy the response before the client has read it. So only our
direction is closed first, and what comes is dropped until the client closes too.

An idle limit for transfers: a connection is cut when the client owes bytes (of a body that we read,
or acknowledgements of one that we write) and none has moved for some time. Time that the server
itself takes never counts.

Put right: Hypercorn keeps a connection that its client closed until the keep-alive time is over,
and answers HTTP/2 on a plain port, where nobody needs it and its tasks outlive their connections.
"""

from __future__ import annotations

import asyncio
import logging
from ssl import SSLError

import h11
import hypercorn.asyncio.run
import hypercorn.protocol
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol

log = logging.getLogger("dtrfast.connection")

# Go clients notice our close within a round trip; this is for those that never do.
_LINGER_SECONDS = 5.0
_LOOKS_PER_LIMIT = 4

_NO_REQUEST = (
    b'{"errors":[{"code":"UNSUPPORTED","message":"this is not a request that can be answered: '
    b'plain HTTP/1.1 is expected, with a head of bounded size and one length"}]}'
)


def install(idle_body_seconds: float) -> None:
    """Let Hypercorn make its connections from this class, in this process."""
    Connection.idle_body_seconds = idle_body_seconds
    hypercorn.asyncio.run.TCPServer = Connection  # type: ignore[attr-defined]
    hypercorn.protocol.H11Protocol = Http11  # type: ignore[attr-defined]


class Http11(H11Protocol):
    """HTTP/1.1 and nothing else: an offer to upgrade is not taken, as the standard allows.

    What is no request at all never reaches the application; it is answered here, in its words.
    """

    async def _check_protocol(self, event: h11.Request) -> None:
        pass

    async def _create_stream(self, request: h11.Request) -> None:
        names = {name for name, _ in request.headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            # Two ways to tell where the body ends: whoever is in front of us may take the other.
            await self._send_error_response(400)
            await self.send(Closed())
            return
        await super()._create_stream(request)

    async def _send_error_response(self, status_code: int) -> None:
        log.info("%s sent what is no request: %d", _address(self.client), status_code)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(_NO_REQUEST)),
            (b"connection", b"close"),
            (b"docker-distribution-api-version", b"registry/2.0"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=_NO_REQUEST))
        await self._send_h11_event(h11.EndOfMessage())


def _address(client: tuple[str, int] | None) -> str:
    return "somebody" if client is None else client[0]


class Connection(TCPServer):
    """One client's connection."""

    idle_body_seconds = 60.0

    async def run(self) -> None:
        self._received = 0
        self._sent = 0
        self._reading = False
        self._lingering = False
        self._ended = False
        self._mark = (0, 0)
        self._moved_at = self.loop.time()
        self._watch = self._after_a_while()
        try:
            await super().run()
        except OSError:
            pass  # the client's end is gone
        except asyncio.CancelledError:
            # The server stops. Nothing awaits this task that could want to know.
            log.info("cut a connection that was in use")
        except Exception:
            # One connection must not end the others: Hypercorn gathers them all when it stops.
            log.exception("a connection failed")
        finally:
            self._watch.cancel()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, Closed) and self._request_is_unread():
            self._linger()
            return
        if self._ended and isinstance(event, Updated):
            return  # it would wait for the next request
        if isinstance(event, RawData):
            self._sent += len(event.data)
        await super().protocol_send(event)

    async def _read_data(self) -> None:
        while not self.reader.at_eof():
            self._reading = True
            try:
                data = await self.reader.read(MAX_RECV)
            except (OSError, SSLError):
                break
            finally:
                self._reading = False
            self._received += len(data)
            if not self._lingering:
                await self.protocol.handle(RawData(data))
        self._ended = True
        await self.protocol.handle(Closed())
        await self.idle_task.stop()

    async def _close(self) -> None:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            self._cut()  # the server stops: do not wait for a client that reads nothing
        await super()._close()

    def _linger(self) -> None:
        if self._lingering:
            return
        self._lingering = True
        self.writer.write_eof()
        self._watch.cancel()
        self._watch = self.loop.call_later(_LINGER_SECONDS, self._cut)

    def _request_is_unread(self) -> bool:
        """Whether the client may still be sending: its request did not end, or makes no sense."""
        transport = self.writer.transport
        if self.reader.at_eof() or transport.is_closing() or not transport.can_write_eof():
            return False
        return self._their_state() in (h11.SEND_BODY, h11.ERROR)

    def _their_state(self) -> object:
        protocol = self.protocol.protocol
        return protocol.connection.their_state if isinstance(protocol, H11Protocol) else None

    def _after_a_while(self) -> asyncio.TimerHandle:
        return self.loop.call_later(self.idle_body_seconds / _LOOKS_PER_LIMIT, self._look)

    def _look(self) -> None:
        """Cut the connection if its client has owed bytes for too long; else look again later."""
        unsent = self.writer.transport.get_write_buffer_size()
        mark = (self._received, self._sent - unsent)
        now = self.loop.time()
        owing = unsent > 0 or (self._reading and self._their_state() is h11.SEND_BODY)
        if mark != self._mark or not owing:
            self._mark = mark
            self._moved_at = now
        elif now - self._moved_at >= self.idle_body_seconds:
            log.info("cutting a transfer that stood still for %.0f s", now - self._moved_at)
            self._cut()
            return
        self._watch = self._after_a_while()

    def _cut(self) -> None:
        self.writer.transport.abort()
