"""What pages show as it happens, by server-sent events.

A stream is a page function that is asked again and again, on a thread, as the user of the session;
so it ends when the session does, and shows nothing that a page would not. It ends as well after
some minutes and when the server stops, and the browser comes again. Its address says what the page
showed, and `after` where the stream before it broke off: nothing falls in between.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from dtrfast.api.types import Ending, Hop
from dtrfast.api.v0 import sessions
from dtrfast.console import frame, rendering
from dtrfast.console.page import Page
from dtrfast.console.pages import dashboard, logs, welcome
from dtrfast.errors import DtrfastError

# Below what proxies and `server.idle_body_seconds` cut, and short enough to notice a sign-out.
_LIFE_SECONDS = 300.0
_BEAT_SECONDS = 15.0
_LOOK_AT_END_SECONDS = 0.5
# Each costs a look every second or two, on a thread.
_STREAMS_MAX = 100


@dataclass(frozen=True, slots=True)
class Message:
    """An event: its kind, what the browser gets as JSON, and where a stream goes on behind it."""

    kind: str
    data: Any
    place: str = ""


# Called again and again; gives what is new since it was called before.
Tick = Callable[[], list[Message]]
# What makes a tick for one browser, and how many seconds there are between two.
MakeTick = tuple[Callable[[Page], Tick], float]


def html(target: str, template: str, values: Mapping[str, Any]) -> Message:
    """Markup that the page puts into an element, in place of what is there."""
    text = rendering.render(template, values)
    return Message("html", {"target": target, "html": text, "how": "replace"})


def _arrival(page: Page) -> Tick:
    if page.caller.kind != "system":
        page.ask(sessions.get_session)  # nobody has nothing to wait for
    shown = [page.query.get("shown", "")]

    def tick() -> list[Message]:
        now = welcome.newest(page)
        if now is None or now.key == shown[0]:
            return []
        shown[0] = now.key
        values = {**frame.values(page), "arrived": now}
        return [html("#arrival", "fragments/arrival.html", values)]

    return tick


def _numbers(page: Page) -> Tick:
    def tick() -> list[Message]:
        values = {**frame.values(page), **dashboard.live_values(page)}
        return [
            html("#now", "dashboard/now.html", values),
            Message("numbers", dashboard.numbers(values["now"])),
        ]

    return tick


def _lines(page: Page) -> Tick:
    tail = logs.Tail(page)

    def tick() -> list[Message]:
        lines = tail.read()
        if not lines:
            return []
        text = rendering.render("logs/lines.html", {**frame.values(page), "lines": lines})
        data = {"target": "#lines", "html": text, "how": "prepend"}
        return [Message("html", data, place=tail.cursor)]

    return tick


STREAMS: dict[str, MakeTick] = {
    "/live/arrival": (_arrival, 1.0),
    "/live/dashboard": (_numbers, 2.0),
    "/live/logs": (_lines, 1.0),
}


class Streams:
    """The streams of one process."""

    def __init__(self, hop: Hop, ending: Ending) -> None:
        self._hop = hop
        self._ending = ending
        self._count = 0

    async def respond(self, request: Request, make: MakeTick, page: Page) -> Response:
        """A stream. What refuses the first look is an answer, not a stream."""
        build, seconds = make
        if place := request.headers.get("last-event-id"):
            page = replace(page, query={**page.query, "after": place})
        if self._count >= _STREAMS_MAX:
            return Response("too many live pages are open", 503, {"retry-after": "30"})
        try:
            tick = await self._hop.run(build, page)
            first = await self._hop.run(tick)
        except DtrfastError:
            return Response(status_code=204)  # which tells a browser not to come again
        headers = {**rendering.HEADERS, "cache-control": "no-store", "x-accel-buffering": "no"}
        events = self._events(request, tick, seconds, first)
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")

    async def _events(
        self, request: Request, tick: Tick, seconds: float, first: list[Message]
    ) -> AsyncIterator[bytes]:
        self._count += 1
        try:
            yield b"retry: 2000\n\n"
            messages = first
            began = beat = time.monotonic()
            while True:
                for message in messages:
                    yield _encode(message)
                now = time.monotonic()
                if messages or now - beat > _BEAT_SECONDS:
                    beat = now
                    yield b": still here\n\n"
                if now - began > _LIFE_SECONDS or not await _wait(seconds, self._ending):
                    return
                if await request.is_disconnected():
                    return
                messages = await self._hop.run(tick)
        except DtrfastError:
            yield _encode(Message("end", None))
        finally:
            self._count -= 1


async def _wait(seconds: float, ending: Ending) -> bool:
    """Sleep; False once the server stops."""
    left = seconds
    while left > 0 and not ending.is_set():
        await asyncio.sleep(min(left, _LOOK_AT_END_SECONDS))
        left -= _LOOK_AT_END_SECONDS
    return not ending.is_set()


def _encode(message: Message) -> bytes:
    place = f"id: {message.place}\n" if message.place else ""
    return f"{place}event: {message.kind}\ndata: {json.dumps(message.data)}\n\n".encode()
