"""What pages show as it happens, by server-sent events.

A stream is a page function that is asked again and again, on a thread, as the user of the session,
which is looked up before each look; so it ends when the session does, and shows nothing that a page
would not. It ends as well after some minutes and when the server stops, and the browser comes
again. Its address says what the page showed, and `after` where the stream before it broke off:
nothing falls in between.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from dtrfast.api import browsers
from dtrfast.api.types import Ending, Hop
from dtrfast.api.v0 import sessions
from dtrfast.console import frame, rendering
from dtrfast.console.page import Page
from dtrfast.console.pages import dashboard, logs, welcome
from dtrfast.errors import DtrfastError, SignInRequired

# Below what proxies and `server.idle_body_seconds` cut, and short enough to notice a sign-out.
_LIFE_SECONDS = 300.0
_BEAT_SECONDS = 15.0
_LOOK_AT_END_SECONDS = 0.5
_POINTS_SECONDS = 10.0
# Each costs a look every second or two, on a thread. Nobody takes all of them.
_STREAMS_OF_ONE_MAX = 10


@dataclass(frozen=True, slots=True)
class Message:
    """An event: its kind, what the browser gets as JSON, and where a stream goes on behind it."""

    kind: str
    data: Any
    place: str = ""


# Called again and again; gives what is new since it was called before.
Tick = Callable[[], list[Message]]


def html(target: str, template: str, values: Mapping[str, Any]) -> Message:
    """Markup that the page puts into an element, in place of what is there."""
    text = rendering.render(template, values)
    return Message("html", {"target": target, "html": text, "how": "replace"})


def _progress(page: Page) -> Tick:
    if page.caller.kind != "system":
        page.ask(sessions.get_session)  # nobody has nothing to wait for
    shown = [page.query.get("shown", "")]

    def tick() -> list[Message]:
        now = welcome.progress(page)
        if now.key == shown[0]:
            return []
        shown[0] = now.key
        steps = html(
            "#steps", "fragments/steps.html", {**frame.values(page), **welcome.values(page, now)}
        )
        return [steps, Message("end", None)] if now.is_done else [steps]

    return tick


def _numbers(page: Page) -> Tick:
    # What is recorded every ten seconds need not be read more often.
    due = [time.monotonic()]

    def tick() -> list[Message]:
        seen = dashboard.live_values(page)
        messages = [html("#now", "dashboard/now.html", {**frame.values(page), **seen})]
        if time.monotonic() >= due[0]:
            due[0] = time.monotonic() + _POINTS_SECONDS
            points = dashboard.points(page, [process.name for process in seen["now"].processes])
            messages.append(Message("points", msgspec.to_builtins(points)))
        return messages

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


@dataclass(frozen=True, slots=True)
class Stream:
    """What makes a tick for one browser, the seconds between two looks, and how many there are at
    most. What anybody may open leaves room for what administrators look at.
    """

    name: str
    make: Callable[[Page], Tick]
    seconds: float
    count_max: int


STREAMS: dict[str, Stream] = {
    f"/live/{stream.name}": stream
    for stream in (
        Stream("progress", _progress, 2.0, 40),
        Stream("dashboard", _numbers, 2.0, 40),
        Stream("logs", _lines, 1.0, 40),
    )
}


class Streams:
    """The streams of one process."""

    def __init__(self, hop: Hop, ending: Ending) -> None:
        self._hop = hop
        self._ending = ending
        self._counts: Counter[tuple[str, str]] = Counter()

    async def respond(self, request: Request, stream: Stream, page: Page) -> Response:
        """A stream. What refuses the first look is an answer, not a stream."""
        if place := request.headers.get("last-event-id"):
            page = replace(page, query={**page.query, "after": place})
        key = (stream.name, page.caller.actor)
        if self._is_full(stream, page.caller.actor):
            return Response("too many live pages are open", 503, {"retry-after": "30"})
        self._counts[key] += 1
        leave = partial(self._counts.subtract, [key])
        try:
            tick = await self._hop.run(stream.make, page)
            first = await self._hop.run(_look, page, tick)
        except DtrfastError:
            leave()
            return Response(status_code=204)  # which tells a browser not to come again
        except BaseException:
            leave()
            raise
        headers = {**rendering.HEADERS, "cache-control": "no-store", "x-accel-buffering": "no"}
        events = self._events(request, page, stream, tick, first)
        return _Counted(events, headers, leave)

    def _is_full(self, stream: Stream, actor: str) -> bool:
        here = sum(count for (name, _), count in self._counts.items() if name == stream.name)
        own = sum(count for (_, who), count in self._counts.items() if who == actor)
        self._counts += Counter()  # which forgets those that are at nothing
        return here >= stream.count_max or own >= _STREAMS_OF_ONE_MAX

    async def _events(
        self, request: Request, page: Page, stream: Stream, tick: Tick, first: list[Message]
    ) -> AsyncIterator[bytes]:
        try:
            yield b"retry: 2000\n\n"
            messages = first
            began = beat = time.monotonic()
            while request.method != "HEAD":
                for message in messages:
                    yield _encode(message)
                now = time.monotonic()
                if messages or now - beat > _BEAT_SECONDS:
                    beat = now
                    yield b": still here\n\n"
                is_over = now - began > _LIFE_SECONDS
                if is_over or not await _wait(stream.seconds, self._ending):
                    return
                if await request.is_disconnected():
                    return
                messages = await self._hop.run(_look, page, tick)
        except DtrfastError:
            yield _encode(Message("end", None))


def _look(page: Page, tick: Tick) -> list[Message]:
    """On a thread. Raises `SignInRequired` once the session that began the stream has ended."""
    asker = page.asker
    if page.csrf_token and browsers.find_session(asker.identity, asker.session_id) is None:
        raise SignInRequired("the session has ended: sign in again")
    return tick()


class _Counted(StreamingResponse):
    """A stream that says when it is over, however it ended."""

    def __init__(
        self, events: AsyncIterator[bytes], headers: Mapping[str, str], leave: Callable[[], None]
    ) -> None:
        super().__init__(events, headers=headers, media_type="text/event-stream")
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


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
