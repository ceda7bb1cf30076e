"""Reads the rest of a request's body after its response is complete.

Without this, Hypercorn waits forever for the application to read the body. Its queue holds ten
events, and once it is full, the end of the request does not fit.
"""

from __future__ import annotations

import asyncio

from dtrfast.server.asgi import App, Message, Receive, Scope, Send


class Leftover:
    """Middleware that drops the unread rest of a body while the end of the response is sent."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _RequestDrain(receive, send)
        await self._app(scope, request.receive, request.send)


class _RequestDrain:
    """One request, and the progress of its body."""

    __slots__ = ("_receive", "_received", "_send")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._received = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._received = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if self._received or not last:
            await self._send(message)
            return
        dropping = asyncio.create_task(self._drop())
        try:
            await self._send(message)
        finally:
            dropping.cancel()

    async def _drop(self) -> None:
        while not self._received:
            await self.receive()
