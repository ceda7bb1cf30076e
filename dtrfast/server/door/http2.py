"""Hypercorn's HTTP/2, with three changes.

Uploads get larger windows. A connection ends when its client leaves. Unfinished heads have the
bounds of HTTP/1.1.

h2 itself bounds the list of headers (64 KiB) and the streams of a connection (100). But an
unfinished head may have 64 frames there, and h2 waits for a frame of any length. So this module
looks at both in h2's buffer (`_data`, `_headers_buffer`; `tests/door/test_seam.py` checks them).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import hypercorn.protocol
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes, Settings
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event
from hypercorn.protocol.h2 import H2Protocol

from dtrfast.server.door.heads import HEAD_SECONDS, HeadMemory

log = logging.getLogger("dtrfast.door")

# Bytes that a client may send before the server allows more, on a stream and on a connection. With
# the protocol's default of 64 KiB an upload from 50 ms away reaches only 1.3 MB/s. The window costs
# no memory here: bytes stay in the kernel until the application reads the body.
_WINDOW_SIZE = 4 << 20
_FRAME_SIZE_MAX = 256 * 1024
_TYPE_DATA = 0


def install_http2(head_memory: HeadMemory, head_size_max: int) -> None:
    """Make Hypercorn use these settings for HTTP/2 in this process."""
    _Protocol.head_memory = head_memory
    _Protocol.head_size_max = head_size_max
    hypercorn.protocol.H2Protocol = _Protocol  # type: ignore[attr-defined, assignment]


def unfinished_size(frames: FrameBuffer) -> int:
    """Return the size of an unfinished head with its last frame; 0 in the middle of a body."""
    size = sum(len(frame.data) for frame in frames._headers_buffer)
    data = frames._data
    is_body = len(data) > 3 and data[3] == _TYPE_DATA
    if is_body and int.from_bytes(data[:3], "big") <= _FRAME_SIZE_MAX:
        return size
    return size + len(data)


class _Protocol(H2Protocol):
    head_memory: HeadMemory
    head_size_max: int
    _late: asyncio.TimerHandle | None = None
    _ending: asyncio.Future[None] | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        values = {
            **{SettingCodes(code): value for code, value in self.connection.local_settings.items()},
            SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_SIZE,
            SettingCodes.MAX_FRAME_SIZE: _FRAME_SIZE_MAX,
        }
        self.connection.local_settings = Settings(client=False, initial_values=values)
        self.connection.max_inbound_frame_size = _FRAME_SIZE_MAX

    async def initiate(self, *arguments: Any) -> None:
        await super().initiate(*arguments)
        self.connection.increment_flow_control_window(_WINDOW_SIZE)
        await self._flush()

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        # Watch the time and memory of an unfinished head, as `Door` does.
        is_over = isinstance(event, Closed)
        size = 0 if is_over else unfinished_size(self.connection.incoming_buffer)
        self.head_memory.hold(self, size)
        if size > self.head_size_max:
            self.drop_head()
        elif size == 0 and self._late is not None:
            self._late.cancel()
            self._late = None
        elif size and self._late is None:
            self._late = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.drop_head)

    def drop_head(self) -> None:
        log.info(
            "closed a connection from %s: incomplete request head",
            self.client[0] if self.client else "-",
        )
        self._ending = asyncio.ensure_future(self.send(Closed()))


class Http2(TCPServer):
    """A connection of Hypercorn. Its failure must not end the other connections."""

    async def run(self) -> None:
        try:
            await super().run()
        except asyncio.CancelledError:
            log.info("cut a connection in use, because the server stops")
        except Exception:
            log.exception("a connection failed")

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()  # else the connection stays until the idle time is over
