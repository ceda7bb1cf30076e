"""Downloads: blob bytes, which threads read in pieces, sent as long as the client is connected."""

from __future__ import annotations

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.types import Receive, Scope, Send

from dtrfast.api.errors import ClientGone
from dtrfast.api.types import Hop, lane_of
from dtrfast.registry.blob_source import BlobSource


class DownloadResponse:
    """An answer whose source has been prepared, so its first bytes can be read."""

    def __init__(
        self, hop: Hop, status: int, headers: dict[str, str], source: BlobSource, first: bytes
    ) -> None:
        self._hop = hop
        self._status = status
        self._headers = headers
        self._source = source
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = MutableHeaders(self._headers)
            head = {"type": "http.response.start", "status": self._status, "headers": headers.raw}
            await send(head)
            lane = lane_of(scope)
            if lane is not None:
                await lane.send(self._source.segments())
                await send({"type": "http.response.body", "body": b""})
            elif self._source.left:
                await self._send_pieces(receive, send)
            else:
                await send({"type": "http.response.body", "body": self._first})
        finally:
            if self._source.left:
                await self._hop.run(self._source.close)

    async def _send_pieces(self, receive: Receive, send: Send) -> None:
        watcher = asyncio.create_task(_wait_disconnect(receive))
        try:
            # A client may take hours, so only one piece is in memory.
            piece, self._first = self._first, b""
            while piece:
                if watcher.done():
                    raise ClientGone
                more = self._source.left > 0
                await send({"type": "http.response.body", "body": piece, "more_body": more})
                piece = await self._hop.run(self._source.read) if more else b""
        finally:
            watcher.cancel()


async def _wait_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
