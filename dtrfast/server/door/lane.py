"""The body lane: a blob's bytes between socket and store, past ASGI and past the event loop.

Threads work on a duplicate of the socket's descriptor, in turns. In between the event loop watches
the socket, so a slow client costs a socket and no thread; the bytes of one that dribbles gather on
the event loop until they are worth a turn. Bodies are read into memory of the store; answers are
sent with `sendfile` from the store's files, which are never changed in place.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

from dtrfast.api.errors import ClientGone, ClientIdle
from dtrfast.api.types import Context
from dtrfast.server.door.body import Body
from dtrfast.server.door.secure import Secure
from dtrfast.server.door.sockets import PlainSocket, SecureSocket
from dtrfast.server.door.turns import TURN_SIZE_MIN, Receiving, Sending
from dtrfast.store.blobs import Segment, Upload

if TYPE_CHECKING:
    from dtrfast.server.door.door import Door
    from dtrfast.server.door.exchange import Exchange

# A socket that is dry for so long is not just between two packets.
_DRY_SECONDS = 0.2
# What a dribbling client may lose with its worker; more is saved once the socket is dry.
_UNSAVED_SIZE_MAX = 16 * 1024
# So long at most do bytes of a client that dribbles wait to be worth a turn. A turn takes two cores
# 0.4 ms: a thousand such clients need a few hundredths of one for theirs.
_GATHER_SECONDS_MAX = 30.0


class SocketLane:
    """See `dtrfast.api.types.Lane`."""

    __slots__ = ("_body", "_context", "_door", "_exchange", "bytes_in", "bytes_out")

    def __init__(self, door: Door, exchange: Exchange, body: Body, context: Context) -> None:
        self._door = door
        self._exchange = exchange
        self._body = body
        self._context = context
        self.bytes_in = 0
        self.bytes_out = 0

    @property
    def finished(self) -> bool:
        return self._body.finished

    # ---- in -------------------------------------------------------------------------------------
    async def receive(self, upload: Upload, size_max: int | None) -> int:
        self._exchange.want_body()
        self._door.pause_reading()
        with _duplicate(self._door) as connection:
            receiving = Receiving(connection, self._body, self._door.take_ahead(), size_max)
            try:
                await self._receive_all(receiving, upload)
            except ValueError as error:
                self._exchange.refuse()
                await self._exchange.disconnect()
                raise ClientGone from error
            except ClientGone:
                await self._exchange.disconnect()
                raise
            finally:
                self.bytes_in += receiving.received
                self._door.put_back(receiving.behind)
                self._door.resume_reading()
        return receiving.received

    async def _receive_all(self, receiving: Receiving, upload: Upload) -> None:
        unsaved, dribbles = 0, False
        while not receiving.over:
            if receiving.is_dry():
                if unsaved > _UNSAVED_SIZE_MAX and not await self._readable(receiving):
                    await self._context.hop.run(upload.save)
                    unsaved = 0
                await self._wait_readable(receiving)
                if dribbles:
                    await self._gather(receiving)
            taken = await self._context.hop.run(receiving.turn, upload)
            if receiving.gone:
                raise ClientGone
            unsaved += taken
            dribbles = taken < TURN_SIZE_MIN

    async def _readable(self, receiving: Receiving) -> bool:
        """Whether bytes come before the socket is called dry."""
        return await _wait(receiving.connection, "reading", _DRY_SECONDS)

    async def _wait_readable(self, receiving: Receiving) -> None:
        limit = self._context.config.server.idle_body_seconds
        if not await _wait(receiving.connection, "reading", limit):
            raise ClientIdle

    async def _gather(self, receiving: Receiving) -> None:
        limit = self._context.config.server.idle_body_seconds
        seconds = min(limit, _GATHER_SECONDS_MAX)
        await _wait(receiving.connection, "reading", seconds, receiving.gather)

    # ---- out ------------------------------------------------------------------------------------
    async def send(self, segments: Iterator[Segment]) -> None:
        await self._door.flush()
        with _duplicate(self._door) as connection:
            sending = Sending(connection, self._exchange.take_pending(), segments)
            try:
                await self._send_all(sending)
            finally:
                self._count_sent(sending)

    async def _send_all(self, sending: Sending) -> None:
        limit = self._context.config.server.idle_body_seconds
        while not await self._context.hop.run(sending.turn):
            self._count_sent(sending)
            if sending.gone or self._door.is_lost:
                raise ClientGone
            if sending.is_full() and not await _wait(sending.connection, "writing", limit):
                self._door.cut_idle()
                raise ClientGone

    def _count_sent(self, sending: Sending) -> None:
        """Count what was sent since this was called last."""
        size, sending.sent = sending.sent, 0
        self.bytes_out += size
        self._exchange.count_sent(size)


def _duplicate(door: Door) -> PlainSocket:
    """The door's socket under a descriptor of its own, which no close of the transport takes away.

    Raises `ClientGone`.
    """
    transport = door.transport
    original = transport.get_extra_info("socket")
    if door.is_lost or original is None or original.fileno() < 0:
        raise ClientGone
    # With family and type given nothing is asked of the kernel; neither matters here.
    descriptor = os.dup(original.fileno())
    duplicate = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
    if isinstance(transport, Secure):
        return SecureSocket(duplicate, transport)
    return PlainSocket(duplicate)


async def _wait(
    connection: PlainSocket,
    what: Literal["reading", "writing"],
    seconds: float,
    look: Callable[[], bool] | None = None,
) -> bool:
    """Whether in time the socket gets ready, and then once `look`, if there is one, says so."""
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
