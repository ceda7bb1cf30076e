"""The work of threads on a socket: turns that receive a body or send a response.

One thread at a time works on a transfer. Nothing here waits for longer than a poll of a few
milliseconds, but for the disk, and up to 50 ms for a segment of an evicted blob.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator

from dtrfast.server.door.request_body import RequestBody
from dtrfast.server.door.sockets import PlainSocket
from dtrfast.store.blobs import Extent, Segment, Upload

# The length of a turn. Other transfers may wait for its thread.
_TURN_SECONDS = 0.1
# A turn that brings fewer bytes is not worth its thread.
TURN_SIZE_MIN = 32 * 1024
# A thread waits this long for a socket. A return to the event loop costs about 0.1 ms of two cores.
# With a longer wait, a client below 16 MB/s would keep a thread busy.
_POLL_MILLISECONDS = 2


class BodyReceiver:
    """Receives a body from the socket into an upload. It consumes nothing behind the body."""

    __slots__ = (
        "_ahead",
        "_body",
        "_deadline",
        "_gathered",
        "_poll",
        "_size_max",
        "connection",
        "is_gone",
        "received",
    )

    def __init__(
        self, connection: PlainSocket, body: RequestBody, ahead: bytes, size_max: int | None
    ) -> None:
        self.connection = connection
        self.received = 0  # bytes of content
        self.is_gone = False  # the client sends nothing more
        self._ahead = ahead  # bytes that were received and not consumed
        self._gathered = bytearray()  # content that waits for a turn
        self._body = body
        self._size_max = size_max
        self._deadline = 0.0
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    @property
    def behind(self) -> bytes:
        """Received bytes that were not consumed. After the end of the body they are behind it."""
        return self._ahead

    @property
    def is_over(self) -> bool:
        """True if the body is finished, or longer than its limit."""
        too_long = self._size_max is not None and self.received > self._size_max
        return too_long or (self._body.is_finished and not self._gathered)

    def is_dry(self) -> bool:
        """Return True if a turn would find no bytes."""
        return not self._ahead and self.connection.readable_size() == 0

    def gather(self) -> bool:
        """Take the few bytes that are there, between two turns; return True if a turn is due.

        A turn is due when there is enough content, or when there will be no more.
        """
        room = memoryview(bytearray(TURN_SIZE_MIN))
        while (
            not self.is_gone and not self._body.is_finished and len(self._gathered) < TURN_SIZE_MIN
        ):
            received = self._read(room)
            if received is None:
                return False
            self.is_gone = received == 0
            self._ahead = bytes(room[:received])
            try:
                content, used = self._body.take(self._ahead)
            except ValueError:
                break  # the turn meets the same error and raises it
            self._gathered += content
            self._ahead = self._ahead[used:]
        return True

    def turn(self, upload: Upload) -> int:
        """Append the bytes that are there to `upload`; return their count.

        Raises ValueError for malformed framing.
        """
        self._deadline = time.monotonic() + _TURN_SECONDS
        return upload.append_from(self._fill)

    def _fill(self, view: memoryview) -> int:
        if self._gathered:
            count = min(len(view), len(self._gathered))
            view[:count] = self._gathered[:count]
            del self._gathered[:count]
            self.received += count
            return count
        while not self.is_over and time.monotonic() < self._deadline:
            left = self._body.left
            room = view if left is None else view[:left]
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

    def _take(self, room: memoryview) -> int:
        """Fill `room` with earlier bytes or from the socket; return the count, 0 if none came."""
        if self._ahead:
            count = min(len(room), len(self._ahead))
            room[:count] = self._ahead[:count]
            self._ahead = self._ahead[count:]
            return count
        received = self._read(room)
        if received is None and self._poll.poll(_POLL_MILLISECONDS):
            received = self._read(room)
        self.is_gone = received == 0
        return received or 0

    def _read(self, room: memoryview) -> int | None:
        """Return a count; None if there is nothing now, 0 if there will be nothing more."""
        try:
            return self.connection.receive_into(room)
        except BlockingIOError:
            return None
        except OSError:
            return 0


class BlobSender:
    """Sends a response: its head, then segments of a blob."""

    __slots__ = (
        "_head",
        "_poll",
        "_position",
        "_segment",
        "_segments",
        "connection",
        "is_gone",
        "is_waiting",
        "sent",
    )

    def __init__(self, connection: PlainSocket, head: bytes, segments: Iterator[Segment]) -> None:
        self.connection = connection
        self.is_gone = False  # the client takes nothing more
        self.is_waiting = False  # the next segment takes its time
        self.sent = 0  # bytes of segments, since its owner set it to 0
        self._head = head
        self._segments = segments
        self._segment: Segment | None = None
        self._position = 0  # bytes of the segment that were sent
        self._poll = select.poll()
        self._poll.register(connection, select.POLLOUT)

    def turn(self) -> bool:
        """Send until the socket is full or the turn is over; True when everything is sent."""
        deadline = time.monotonic() + _TURN_SECONDS
        try:
            while self._next():
                self.is_waiting = self._skip_empty()
                if self.is_waiting:
                    self._insist(self.connection.flush)
                    return False
                if not self._insist(self._send_once) or time.monotonic() >= deadline:
                    return False
            return self._insist(self.connection.flush)
        except ConnectionError:
            self.is_gone = True
            return False

    def is_full(self) -> bool:
        return not self._poll.poll(0)

    def _next(self) -> bool:
        """Move to the next segment once all before is sent; return False after the last."""
        if self._head or self._segment is not None:
            return True
        self._segment, self._position = next(self._segments, None), 0
        return self._segment is not None

    def _skip_empty(self) -> bool:
        """Pass an empty segment over; return True if there was one: the next takes its time."""
        if self._head or isinstance(self._segment, Extent) or self._segment:
            return False
        self._segment = None
        return True

    def _insist(self, step: Callable[[], None]) -> bool:
        """Repeat `step` until it succeeds; return False if the socket stays full for a poll."""
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
