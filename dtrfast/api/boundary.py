"""The outermost layer of the application.

It makes paths canonical, adds the headers of every answer, turns exceptions into answers, and reads
the rest of bodies.

A server that gets an answer before the end of the request's body closes the connection at once. A
client that is still sending then reports a broken pipe in place of the answer. So the rest of a
body is read first, up to a limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dtrfast.api import canonical_paths
from dtrfast.api.answers import COMMON_HEADERS
from dtrfast.api.cross_origin import CrossOrigin
from dtrfast.api.errors import (
    ClientGone,
    ClientIdle,
    error_response,
    idle_response,
    row_of,
    unexpected_response,
)
from dtrfast.api.types import lane_of
from dtrfast.errors import DtrfastError

_DRAIN_BYTES_MAX = 1 << 20
_DRAIN_SECONDS_MAX = 1.0

_logger = logging.getLogger("dtrfast.api")


class Boundary:
    """Middleware around the whole application."""

    def __init__(self, app: ASGIApp, cross_origin: CrossOrigin | None = None) -> None:
        self.app = app
        self._cross_origin = cross_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Exchange(scope, receive, send, self._cross_origin).run(self.app)
        else:
            await self.app(scope, receive, send)


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, cross_origin: CrossOrigin | None
    ) -> None:
        self._cross_origin = cross_origin
        self._scope = scope
        self._receive = receive
        self._send = send
        self._unread = _announces_body(scope)
        # The client holds its body back. A read would ask for it.
        self._held_back = Headers(scope=scope).get("expect", "").lower() == "100-continue"
        self._started = False

    async def run(self, app: ASGIApp) -> None:
        try:
            canonical_paths.normalize(self._scope)
            preflight = self._cross_origin and self._cross_origin.preflight(self._scope)
            await (preflight or app)(self._scope, self.receive, self.send)
        except ClientGone:
            _logger.debug("the client of %s closed the connection", self._name())
        except Exception as error:
            if self._started:
                # A clean end would make a part look complete, so the server cuts the connection.
                _logger.error("the answer to %s is cut off: %s", self._name(), error)
                raise
            await self._answer(error)

    async def receive(self) -> Message:
        self._held_back = False
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            headers.update(COMMON_HEADERS)
            if self._cross_origin is not None:
                self._cross_origin.mark(self._scope, headers)
            await self._finish_body(headers)
            message["headers"] = headers.raw
        elif self._scope["method"] == "HEAD":
            message = {**message, "body": b""}
        await self._send(message)

    async def _answer(self, error: Exception) -> None:
        if isinstance(error, DtrfastError):
            if row_of(error).status == 500:
                _logger.error("%s failed: %s", self._name(), error, exc_info=error)
            response = error_response(error)
        elif isinstance(error, ClientIdle):
            self._unread = False  # no second wait for the rest of the body
            response = idle_response()
        else:
            _logger.error("%s failed", self._name(), exc_info=error)
            response = unexpected_response()
        await response(self._scope, self.receive, self.send)

    async def _finish_body(self, headers: MutableHeaders) -> None:
        """Read the rest of the request's body. If it is too long, the answer says that the
        connection ends.
        """
        lane = lane_of(self._scope)
        if not self._unread or (lane is not None and lane.finished):
            return
        if not self._held_back:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_SECONDS_MAX):
                    await self._drain()
        if self._unread and self._scope["http_version"].startswith("1"):
            headers["connection"] = "close"

    async def _drain(self) -> None:
        left = _DRAIN_BYTES_MAX
        while self._unread and left > 0:
            message = await self.receive()
            left -= len(message.get("body", b""))

    def _name(self) -> str:
        return f"{self._scope['method']} {self._scope['path']!r}"


def _announces_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    if "transfer-encoding" in headers:
        return True
    if "content-length" in headers:
        return headers["content-length"] != "0"
    # HTTP/2 needs neither header for a body.
    return not scope["http_version"].startswith("1") and scope["method"] in {"POST", "PUT", "PATCH"}
