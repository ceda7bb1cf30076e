"""The body lane: a blob's bytes between socket and store, past ASGI and past the event loop.

Threads work on a duplicate of the socket's descriptor, in turns. Between turns the event loop
watches the socket, so a slow client costs no thread. Bytes that arrive in tiny pieces gather on the
event loop until they are worth a turn. Bodies are read into memory of the store. Responses are sent
with `sendfile` from the store's files, which are never changed in place.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from typing import Literal

from dtrfast.api.errors import ClientGone, ClientIdle
from dtrfast.api.types import ApiContext
from dtrfast.server.door.interfaces import ClientConnection, LaneExchange
from dtrfast.server.door.request_body import RequestBody
from dtrfast.server.door.response_writer import ResponseWriter
from dtrfast.server.door.secure_transport import SecureTransport
from dtrfast.server.door.sockets import PlainSocket, SecureSocket
from dtrfast.server.door.turns import TURN_SIZE_MIN, BlobSender, BodyReceiver
from dtrfast.store.blobs import Segment, Upload

# A socket without bytes for this long does not merely wait for its next packet.
_DRY_SECONDS = 0.2
# Bytes that a slow client may lose when its worker dies. More are saved once the socket is empty.
_UNSAVED_SIZE_MAX = 16 * 1024
# Bytes in tiny pieces wait at most this long for a turn. A turn takes 0.4 ms of two cores, so a
# thousand such clients take a few hundredths of a core.
_GATHER_SECONDS_MAX = 30.0
# The pause until the next look at a segment that takes its time. Its replay takes some 50 ms.
_SEGMENT_SECONDS = 0.01


class SocketLane:
    """The lane of one request. `dtrfast.api.types.Lane` has the contract."""

    __slots__ = (
        "_body",
        "_connection",
        "_context",
        "_exchange",
        "_response",
        "bytes_in",
        "bytes_out",
    )

    def __init__(
        self,
        connection: ClientConnection,
        exchange: LaneExchange,
        response: ResponseWriter,
        body: RequestBody,
        context: ApiContext,
    ) -> None:
        self._connection = connection
        self._exchange = exchange
        self._response = response
        self._body = body
        self._context = context
        self.bytes_in = 0
        self.bytes_out = 0

    @property
    def finished(self) -> bool:
        return self._body.is_finished

    # ---- in -------------------------------------------------------------------------------------
    async def receive(self, upload: Upload, size_max: int | None) -> int:
        self._exchange.want_body()
        received = self._connection.received
        received.pause_reading()
        with _duplicate(self._connection) as connection:
            receiving = BodyReceiver(connection, self._body, received.take_all(), size_max)
            try:
                await self._receive_all(receiving, upload)
            except ValueError as error:
                self._exchange.refuse_body()
                await self._exchange.disconnect()
                raise ClientGone from error
            except ClientGone:
                await self._exchange.disconnect()
                raise
            finally:
                self.bytes_in += receiving.received
                self._connection.put_back(receiving.behind)
                received.resume_reading()
        return receiving.received

    async def _receive_all(self, receiving: BodyReceiver, upload: Upload) -> None:
        connection = receiving.connection
        limit = self._context.config.server.idle_body_seconds
        unsaved, is_slow = 0, False
        while not receiving.is_over:
            if receiving.is_dry():
                if unsaved > _UNSAVED_SIZE_MAX and not await _wait(
                    connection, "reading", _DRY_SECONDS
                ):
                    await self._context.hop.run(upload.save)
                    unsaved = 0
                if not await _wait(connection, "reading", limit):
                    raise ClientIdle
                if is_slow:
                    seconds = min(limit, _GATHER_SECONDS_MAX)
                    await _wait(connection, "reading", seconds, receiving.gather)
            taken = await self._context.hop.run(receiving.turn, upload)
            if receiving.is_gone:
                raise ClientGone
            unsaved += taken
            is_slow = taken < TURN_SIZE_MIN

    # ---- out ------------------------------------------------------------------------------------
    async def send(self, segments: Iterator[Segment]) -> None:
        await self._connection.flow.flush()
        limit = self._context.config.server.idle_body_seconds
        with _duplicate(self._connection) as connection:
            sending = BlobSender(connection, self._response.take_head(), segments)
            try:
                while not await self._context.hop.run(sending.turn):
                    self._count_sent(sending)
                    if sending.is_gone or self._connection.is_lost:
                        raise ClientGone
                    if sending.is_full() and not await _wait(connection, "writing", limit):
                        self._connection.flow.cut_idle()
                        raise ClientGone
                    if sending.is_waiting:
                        await asyncio.sleep(_SEGMENT_SECONDS)
            finally:
                self._count_sent(sending)

    def _count_sent(self, sending: BlobSender) -> None:
        """Count the bytes that were sent since the last call."""
        size, sending.sent = sending.sent, 0
        self.bytes_out += size
        self._response.count_sent(size)


def _duplicate(connection: ClientConnection) -> PlainSocket:
    """Return the connection's socket with a descriptor of its own.

    It stays open when the transport closes. Raises `ClientGone`.
    """
    transport = connection.transport
    original = transport.get_extra_info("socket")
    if connection.is_lost or original is None or original.fileno() < 0:
        raise ClientGone
    # With family and type given, Python does not ask the kernel for them. They do not matter here.
    descriptor = os.dup(original.fileno())
    duplicate = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
    if isinstance(transport, SecureTransport):
        return SecureSocket(duplicate, transport)
    return PlainSocket(duplicate)


async def _wait(
    connection: PlainSocket,
    what: Literal["reading", "writing"],
    seconds: float,
    look: Callable[[], bool] | None = None,
) -> bool:
    """Wait until the socket is ready and `look`, if given, returns True; return False if too late.

    `look` is called each time the socket gets ready.
    """
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    if what == "reading":
        loop.add_reader(connection, _wake, ready, look)
    else:
        loop.add_writer(connection, _wake, ready, look)
    try:
        async with asyncio.timeout(seconds):
            await ready
    except TimeoutError:
        return False
    finally:
        if what == "reading":
            loop.remove_reader(connection)
        else:
            loop.remove_writer(connection)
    return True


def _wake(ready: asyncio.Future[None], look: Callable[[], bool] | None) -> None:
    if not ready.done() and (look is None or look()):
        ready.set_result(None)
