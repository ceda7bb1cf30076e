"""Live parts of pages, by server-sent events.

A stream calls a function of its page again and again, on a thread, as the user of the session. It
looks up the session before each call. So it ends with the session, and it shows nothing that the
page would not show. It also ends after some minutes and when the server stops; then the browser
opens the next stream. The address of a stream tells what the page shows already, and `after` tells
where the stream before it ended. So no event is lost between two streams.
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

from dtrfast.api.types import Hop, StopFlag
from dtrfast.api.v0 import sessions
from dtrfast.console import frame, health, rendering
from dtrfast.console.page import PageRequest
from dtrfast.console.pages import dashboard, logs, welcome
from dtrfast.errors import DtrfastError, SignInRequired

_LIFE_SECONDS = 300.0
# A client that closed its connection looks like one that only ended its request, until two writes
# have failed. So a stream that a page left keeps its place for two beats. Proxies and
# `server.idle_body_seconds` cut a connection only after a longer silence.
_BEAT_SECONDS = 3.0
_END_CHECK_SECONDS = 0.5
_POINTS_SECONDS = 10.0
# Each stream costs a call every second or two, on a thread. One user cannot take all streams.
_STREAMS_OF_USER_MAX = 10


@dataclass(frozen=True, slots=True)
class Message:
    """An event: its kind, its data as JSON, and the place where the next stream continues."""

    kind: str
    data: Any
    place: str = ""


# Called again and again. Returns the events since the call before.
Tick = Callable[[], list[Message]]


def html(target: str, template: str, values: Mapping[str, Any]) -> Message:
    """Return the event that replaces the content of the element `target` on the page."""
    text = rendering.render(template, values)
    return Message("html", {"target": target, "html": text, "how": "replace"})


def _progress(page: PageRequest) -> Tick:
    if page.caller.kind != "system":
        page.ask(sessions.get_session)  # raises without a sign-in: there is no progress to show
    shown = [page.query.get("shown", "")]

    def tick() -> list[Message]:
        now = welcome.progress(page)
        if now.key == shown[0]:
            return []
        shown[0] = now.key
        steps = html(
            "#steps",
            "fragments/steps.html",
            {**frame.values_of_part(page), **welcome.values(page, now)},
        )
        return [steps, Message("end", None)] if now.is_done else [steps]

    return tick


def _numbers(page: PageRequest) -> Tick:
    # Backups are rare, and their events are costly to find: once for a stream is enough.
    backup = health.last_backup(page)
    # Points are recorded every ten seconds, so they are read no more often.
    due = [time.monotonic()]

    def tick() -> list[Message]:
        seen = dashboard.live_values(page, backup)
        values = {**frame.values_of_part(page), **seen}
        messages = [
            html("#now", "dashboard/now.html", values),
            html("#internals-now", "dashboard/internals.html", values),
        ]
        if time.monotonic() >= due[0]:
            due[0] = time.monotonic() + _POINTS_SECONDS
            points = dashboard.points(page, [process.name for process in seen["now"].processes])
            messages.append(Message("points", msgspec.to_builtins(points)))
        return messages

    return tick


def _lines(page: PageRequest) -> Tick:
    tail = logs.Tail(page)

    def tick() -> list[Message]:
        lines = tail.read()
        if not lines:
            return []
        text = rendering.render("logs/lines.html", {**frame.values_of_part(page), "lines": lines})
        data = {"target": "#lines", "html": text, "how": "prepend"}
        return [Message("html", data, place=tail.cursor)]

    return tick


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of streams.

    `make` returns the function that is called for one browser, every `seconds`. `count_max` bounds
    the streams of this kind in a process. The bounds are separate, so the streams that every user
    may open leave room for those of administrators.
    """

    name: str
    make: Callable[[PageRequest], Tick]
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

    def __init__(self, hop: Hop, ending: StopFlag) -> None:
        self._hop = hop
        self._ending = ending
        self._counts: Counter[tuple[str, str]] = Counter()

    async def respond(self, request: Request, stream: Stream, page: PageRequest) -> Response:
        """Return a stream; 204 if the first call fails, 503 if there are too many streams."""
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
            return Response(status_code=204)  # tells the browser not to try again
        except BaseException:
            leave()
            raise
        headers = {**rendering.HEADERS, "cache-control": "no-store", "x-accel-buffering": "no"}
        events = self._events(request, page, stream, tick, first)
        return _StreamResponse(events, headers, leave)

    def _is_full(self, stream: Stream, actor: str) -> bool:
        here = sum(count for (name, _), count in self._counts.items() if name == stream.name)
        own = sum(count for (_, who), count in self._counts.items() if who == actor)
        self._counts += Counter()  # removes the entries whose count is zero
        return here >= stream.count_max or own >= _STREAMS_OF_USER_MAX

    async def _events(
        self, request: Request, page: PageRequest, stream: Stream, tick: Tick, first: list[Message]
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


def _look(page: PageRequest, tick: Tick) -> list[Message]:
    """Return new events. Raises `SignInRequired` if the session that began the stream has ended.
    Runs on a thread.
    """
    client = page.client
    if page.csrf_token and client.identity.guard.find_session(client.session_id) is None:
        raise SignInRequired("the session has ended: sign in again")
    return tick()


class _StreamResponse(StreamingResponse):
    """A stream that calls `leave` at its end, also after an error."""

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


async def _wait(seconds: float, ending: StopFlag) -> bool:
    """Sleep. Return False as soon as the server stops."""
    left = seconds
    while left > 0 and not ending.is_set():
        await asyncio.sleep(min(left, _END_CHECK_SECONDS))
        left -= _END_CHECK_SECONDS
    return not ending.is_set()


def _encode(message: Message) -> bytes:
    place = f"id: {message.place}\n" if message.place else ""
    return f"{place}event: {message.kind}\ndata: {json.dumps(message.data)}\n\n".encode()
