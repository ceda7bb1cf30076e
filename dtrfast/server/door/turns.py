"""What threads do with a socket: turns of receiving a body or sending an answer.

One thread at a time has a transfer. Nothing here waits for longer than a poll of a few
milliseconds.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator

from dtrfast.server.door.body import Body
from dtrfast.server.door.sockets import PlainSocket
from dtrfast.store.blobs import Extent, Segment, Upload

# A thread is kept for so long by one transfer while others may wait for it.
_TURN_SECONDS = 0.1
# A turn that brings less is not worth its thread.
TURN_SIZE_MIN = 32 * 1024
# How long a thread waits for a socket. Going back to the event loop costs about 0.1 ms of two
# cores; a client that takes longer than this for a packet would keep a thread for under 16 MB/s.
_POLL_MILLISECONDS = 2


class Receiving:
    """A body on its way from the socket into an upload. Nothing behind the body is taken."""

    __slots__ = (
        "_ahead",
        "_body",
        "_deadline",
        "_gathered",
        "_poll",
        "_size_max",
        "connection",
        "gone",
        "received",
    )

    def __init__(
        self, connection: PlainSocket, body: Body, ahead: bytes, size_max: int | None
    ) -> None:
        self.connection = connection
        self.received = 0  # bytes of content
        self.gone = False  # the client sends nothing more
        self._ahead = ahead  # bytes that were received before
        self._gathered = bytearray()  # content that waits for a turn
        self._body = body
        self._size_max = size_max
        self._deadline = 0.0
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    @property
    def behind(self) -> bytes:
        """What came and was not taken: once the body is over, what stands behind it."""
        return self._ahead

    @property
    def over(self) -> bool:
        """Whether the body is finished, or known to be longer than it may be."""
        too_long = self._size_max is not None and self.received > self._size_max
        return too_long or (self._body.finished and not self._gathered)

    def is_dry(self) -> bool:
        """Whether a turn would find nothing."""
        return not self._ahead and self.connection.readable_size() == 0

    def gather(self) -> bool:
        """Take the little that is there, between two turns; whether the next one is worth it."""
        room = memoryview(bytearray(TURN_SIZE_MIN))
        while not self.gone and not self._body.finished and len(self._gathered) < TURN_SIZE_MIN:
            received = self._read(room)
            if received is None:
                return False
            self.gone = received == 0
            self._ahead = bytes(room[:received])
            try:
                content, used = self._body.take(self._ahead)
            except ValueError:
                break  # it makes no sense to the turn either
            self._gathered += content
            self._ahead = self._ahead[used:]
        return True

    def turn(self, upload: Upload) -> int:
        """Take what is there; returns how many bytes. Raises ValueError for broken framing."""
        self._deadline = time.monotonic() + _TURN_SECONDS
        return upload.append_from(self._fill)

    def _fill(self, view: memoryview) -> int:
        if self._gathered:
            return self._take_gathered(view)
        while not self.over and time.monotonic() < self._deadline:
            room = self._room(view)
            count = self._take(room)
            if count == 0:
                break
            size, used = self._body.take_in_place(room[:count])
            if used < count:
                self._ahead = bytes(room[used:count]) + self._ahead
            self.received += size
            if size:
                return size
        return 0

    def _take_gathered(self, view: memoryview) -> int:
        count = min(len(view), len(self._gathered))
        view[:count] = self._gathered[:count]
        del self._gathered[:count]
        self.received += count
        return count

    def _room(self, view: memoryview) -> memoryview:
        left = self._body.left
        return view if left is None else view[:left]

    def _take(self, room: memoryview) -> int:
        """Fill `room` from what was received before, then from the socket; 0 when it is dry."""
        if self._ahead:
            count = min(len(room), len(self._ahead))
            room[:count] = self._ahead[:count]
            self._ahead = self._ahead[count:]
            return count
        received = self._read(room)
        if received is None and self._poll.poll(_POLL_MILLISECONDS):
            received = self._read(room)
        self.gone = received == 0
        return received or 0

    def _read(self, room: memoryview) -> int | None:
        """None when there is nothing now, 0 when there will be nothing more."""
        try:
            return self.connection.receive_into(room)
        except BlockingIOError:
            return None
        except OSError:
            return 0


class Sending:
    """An answer on its way out: its head, then segments of a blob."""

    __slots__ = (
        "_head",
        "_poll",
        "_position",
        "_segment",
        "_segments",
        "connection",
        "gone",
        "sent",
    )

    def __init__(self, connection: PlainSocket, head: bytes, segments: Iterator[Segment]) -> None:
        self.connection = connection
        self.gone = False  # the client takes nothing more
        self.sent = 0  # bytes of segments, since its owner set it to 0
        self._head = head
        self._segments = segments
        self._segment: Segment | None = None
        self._position = 0  # what was sent of the segment
        self._poll = select.poll()
        self._poll.register(connection, select.POLLOUT)

    def turn(self) -> bool:
        """Send until the socket is full or the turn is over; True when everything is sent."""
        deadline = time.monotonic() + _TURN_SECONDS
        try:
            while self._next():
                if not self._insist(self._send_once) or time.monotonic() >= deadline:
                    return False
            return self._insist(self.connection.flush)
        except ConnectionError:
            self.gone = True
            return False

    def is_full(self) -> bool:
        return not self._poll.poll(0)

    def _next(self) -> bool:
        """Move to what is to be sent next; False after the last."""
        if self._head or self._segment is not None:
            return True
        self._segment, self._position = next(self._segments, None), 0
        return self._segment is not None

    def _insist(self, step: Callable[[], None]) -> bool:
        """False when the client takes nothing for now."""
        while True:
            try:
                step()
            except BlockingIOError:
                if not self._poll.poll(_POLL_MILLISECONDS):
                    return False
            else:
                return True

    def _send_once(self) -> None:
        if self._head:
            count = self.connection.send(self._head, more=True)
            self._head = self._head[count:]
            return
        segment, position = self._segment, self._position
        if isinstance(segment, Extent):
            size = segment.length
            count = self.connection.send_extent(segment, position)
        else:
            assert segment is not None, "there is something to send"
            size = len(segment)
            count = self.connection.send(memoryview(segment)[position:])
        self.sent += count
        self._position = position + count
        if self._position == size:
            self._segment = None
