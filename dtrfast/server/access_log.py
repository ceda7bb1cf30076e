"""What is known of each request: a line on standard output, and what others make of it.

A request costs one append to a queue; a thread of its own makes of it what is wanted. Lines are
handed on to another one (`output`): when standard output stalls, lines are dropped and counted, and
requests, metrics and the log that is kept go on.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from dtrfast.api.types import lane_of
from dtrfast.api.visits import ACTOR
from dtrfast.server.asgi import App, Message, Receive, Scope, Send
from dtrfast.server.output import Output
from dtrfast.server.tally import Taken, Tally
from dtrfast.times import rfc3339

T = TypeVar("T")

log = logging.getLogger("dtrfast.access")

_STANDARD_OUTPUT = 1
_QUEUE_COUNT_MAX = 65_536
# Lines gather this long before they are formatted, so that a busy worker wakes up for many at once.
_GATHER_SECONDS = 0.05
# How often the counts of the hot lane are taken.
_SETTLE_SECONDS = 0.5
_PATH_LENGTH_MAX = 1024
_USER_AGENT_LENGTH_MAX = 256


@dataclass(slots=True)
class Entry:
    """One request. `status` is None if no response began; `complete`: all of it was handed on."""

    time: float
    scope: Scope
    status: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    complete: bool = False
    user: str = ""  # of the hot lane; other requests have it in their scope
    is_hot: bool = False

    @property
    def actor(self) -> str:
        """Who called; empty for nobody, and where that is not known."""
        return self.user or str(self.scope.get("state", {}).get(ACTOR, ""))

    @property
    def remote(self) -> str:
        client = self.scope.get("client")
        return str(client[0]) if client else "-"

    @property
    def path(self) -> str:
        raw: bytes | None = self.scope.get("raw_path")
        path = self.scope["path"] if raw is None else raw.decode("latin-1")
        return str(path)[:_PATH_LENGTH_MAX]

    @property
    def user_agent(self) -> str:
        for name, value in self.scope["headers"]:
            if name == b"user-agent":
                return str(value.decode("latin-1"))[:_USER_AGENT_LENGTH_MAX]
        return "-"


def text_line(entry: Entry) -> str:
    """For people. The client's own words are quoted with everything but ASCII escaped."""
    status = entry.status or "-"
    end = "" if entry.complete else " cut"
    return (
        f"{rfc3339(entry.time)} {entry.remote} {_quote(entry.actor) if entry.actor else '-'}"
        f" {_quote(entry.scope['method'])}"
        f" {_quote(entry.path)} {status} {entry.bytes_in} {entry.bytes_out}"
        f" {entry.seconds:.4f} {_quote(entry.user_agent)}{end}"
    )


def json_line(entry: Entry) -> str:
    return json.dumps(
        {
            "time": rfc3339(entry.time),
            "remote": entry.remote,
            "method": entry.scope["method"],
            "path": entry.path,
            "status": entry.status,
            "bytes_in": entry.bytes_in,
            "bytes_out": entry.bytes_out,
            "seconds": round(entry.seconds, 6),
            "user": entry.actor,
            "user_agent": entry.user_agent,
            "complete": entry.complete,
        }
    )


def _quote(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")


class AccessWriter:
    """The queue and the thread that empties it. `add` is called from the event loop's thread.

    Without a format nothing is written. `sinks` are given each entry, and `settle` is called some
    times a second, on the thread. Answers of the hot lane are counted in `tally`, and have an entry
    where one is wanted.
    """

    def __init__(
        self,
        format: Literal["text", "json"] | None,
        *,
        descriptor: int = _STANDARD_OUTPUT,
        sinks: Sequence[Callable[[Entry], None]] = (),
        settle: Callable[[Taken], None] | None = None,
    ) -> None:
        self._line: Callable[[Entry], str] = json_line if format == "json" else text_line
        self.is_written = format is not None
        self._output = Output(descriptor) if self.is_written else None
        self.tally = Tally()
        self._sinks = sinks
        self._settle = settle
        self._entries: deque[Entry] = deque()
        # Requests without a line, ever: those that found the queue full, and those that standard
        # output had no room for; and of how many that was told. Each has one thread that writes it.
        self._dropped = self._unwritten = self._told = 0
        self._settled_at = 0.0
        self._idle = False
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dtrfast-access-log", daemon=True)
        self._thread.start()

    def add(self, entry: Entry) -> None:
        if len(self._entries) >= _QUEUE_COUNT_MAX:
            self._dropped += 1
            return
        self._entries.append(entry)
        if self._idle:
            self._wake.set()

    def close(self) -> None:
        """Hand on what is there, then end the threads."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        if self._output is not None:
            self._output.close()
        if self._settle is not None:
            _hand([self.tally.take()], self._settle)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wait()
            self._stop.wait(_GATHER_SECONDS)
            self._drain()
        self._drain()

    def _wait(self) -> None:
        """Until there is an entry. `_idle` is set before the last look, so none is overlooked."""
        self._wake.clear()
        self._idle = True
        if not self._entries and not self._stop.is_set():
            self._wake.wait(None if self._settle is None else _SETTLE_SECONDS)
        self._idle = False

    def _drain(self) -> None:
        entries = [self._entries.popleft() for _ in range(len(self._entries))]
        for sink in self._sinks:
            _hand(entries, sink)
        if self._settle is not None and time.monotonic() - self._settled_at >= _SETTLE_SECONDS:
            self._settled_at = time.monotonic()
            _hand([self.tally.take()], self._settle)
        if self._output is not None:
            self._write(entries, self._output)

    def _write(self, entries: list[Entry], output: Output) -> None:
        if output.has_room:
            if entries:
                self._unwritten += output.write(self._lines(entries))
        else:
            self._unwritten += len(entries)  # without the work of formatting them
        missing = self._dropped + self._unwritten - self._told
        if missing and (output.has_room or self._stop.is_set()):
            self._told += missing
            output.write([f'{{"requests_not_logged": {missing}}}\n'.encode()], anyway=True)

    def _lines(self, entries: list[Entry]) -> Iterator[bytes]:
        for entry in entries:
            yield self._line(entry).encode("ascii") + b"\n"


def _hand(things: Iterable[T], sink: Callable[[T], None]) -> None:
    try:
        for thing in things:
            sink(thing)
    except Exception:  # the thread is for all requests to come, and for the other sinks
        log.exception("requests are missing where one was made something of")


class AccessLog:
    """Middleware that hands an entry to `writer` when a request is over."""

    def __init__(self, app: App, writer: AccessWriter) -> None:
        self._app = app
        self._writer = writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, receive, send)
        try:
            await self._app(scope, request.receive, request.send)
        finally:
            self._writer.add(request.finish())


class _Request:
    """Counts what passes."""

    __slots__ = ("_began", "_entry", "_gone", "_receive", "_send")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._gone = False
        self._entry = Entry(time.time(), scope)
        self._began = time.perf_counter()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._entry.bytes_in += len(message.get("body", b""))
        elif message["type"] == "http.disconnect":
            self._gone = True
        return message

    async def send(self, message: Message) -> None:
        gone = self._gone  # before: the last message may close the connection by itself
        await self._send(message)
        if message["type"] == "http.response.start":
            self._entry.status = message["status"]
        elif message["type"] == "http.response.body":
            self._entry.bytes_out += len(message.get("body", b""))
            self._entry.complete = not (gone or message.get("more_body", False))

    def finish(self) -> Entry:
        self._entry.seconds = time.perf_counter() - self._began
        lane = lane_of(self._entry.scope)
        if lane is not None:
            self._entry.bytes_in += lane.bytes_in
            self._entry.bytes_out += lane.bytes_out
        return self._entry
