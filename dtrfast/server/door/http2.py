"""HTTP/2, which is Hypercorn's: with windows for uploads, and an end when the client leaves."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import hypercorn.protocol
from h2.settings import SettingCodes, Settings
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol.h2 import H2Protocol

log = logging.getLogger("dtrfast.door")

# What a client may send unasked, on a stream and on a connection. The protocol's own 64 KiB let an
# upload from 50 ms away have 1.3 MB/s. It costs no memory here: nothing is read ahead of whoever
# takes the body, so the rest stays in the kernel.
_WINDOW_SIZE = 4 << 20
_FRAME_SIZE_MAX = 256 * 1024


def install() -> None:
    """Let Hypercorn speak HTTP/2 with these settings, in this process."""
    hypercorn.protocol.H2Protocol = _Protocol  # type: ignore[attr-defined, assignment]


class _Protocol(H2Protocol):
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


class Http2(TCPServer):
    """A connection, which must not end the others when it fails."""

    async def run(self) -> None:
        try:
            await super().run()
        except asyncio.CancelledError:
            log.info("cut a connection that was in use")
        except Exception:
            log.exception("a connection failed")

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()  # else the connection stays until it has been idle for long
