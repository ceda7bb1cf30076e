"""One request at the ASGI interface, event by event, for things that an HTTP client cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import ASGIApp, Message

DISCONNECT: Message = {"type": "http.disconnect"}


def body(data: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


class Exchange:
    """A request whose body events the test feeds, and its answer so far."""

    def __init__(
        self,
        app: ASGIApp,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        http_version: str = "1.1",
    ) -> None:
        raw_path, _, query = path.partition("?")
        self.sent: list[Message] = []
        self.reads = 0
        self.send_gate = asyncio.Event()
        self.send_gate.set()
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.1"},
            "http_version": http_version,
            "method": method,
            "scheme": "http",
            "path": raw_path,
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 5000),
        }
        self.task: asyncio.Task[None] = asyncio.ensure_future(
            self._run(app, self.scope)  # the application gets a task of its own, as under a server
        )

    def feed(self, *events: Message) -> None:
        for event in events:
            self._events.put_nowait(event)

    @property
    def unread(self) -> int:
        """The number of events that the application has not received yet."""
        return self._events.qsize()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def content(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def complete(self) -> bool:
        return len(self.sent) > 1 and not self.sent[-1].get("more_body", False)

    async def _run(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        self.reads += 1
        return await self._events.get()

    async def _send(self, message: Message) -> None:
        await self.send_gate.wait()
        self.sent.append(message)


async def ask(app: ASGIApp, method: str, path: str, *events: Message, **options: Any) -> Exchange:
    """Run a whole exchange with the given body events."""
    exchange = Exchange(app, method, path, **options)
    exchange.feed(*(events or (body(),)))
    await exchange.task
    return exchange


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition()` is true, for a bounded time."""
    for _ in range(4000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")
