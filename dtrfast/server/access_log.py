"""The access log: an entry for each request, written to standard output and given to sinks.

A request only appends to a queue. A thread empties the queue and calls the sinks. A second thread
(`line_output`) writes the lines: when standard output stalls, lines are dropped and counted, while
requests, metrics and the kept log go on.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from dtrfast.api.types import lane_of
from dtrfast.api.visits import ACTOR
from dtrfast.server.asgi import App, Message, Receive, Scope, Send
from dtrfast.server.line_output import LineOutput
from dtrfast.server.tally import Tally, TallyCounts
from dtrfast.times import rfc3339

T = TypeVar("T")

log = logging.getLogger("dtrfast.access")

_STANDARD_OUTPUT = 1
_QUEUE_COUNT_MAX = 65_536
# Entries gather this long, so that the thread of a busy worker wakes up for many at once.
_GATHER_SECONDS = 0.05
# The time between two takings of the hot lane's counts.
_SETTLE_SECONDS = 0.5
_PATH_LENGTH_MAX = 1024
_USER_AGENT_LENGTH_MAX = 256


@dataclass(slots=True)
class AccessLogEntry:
    """One request. `status` is None if no response began.

    `complete`: the whole response was passed to the server, and the client was still there.
    """

    time: float
    scope: Scope
    status: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    complete: bool = False
    user: str = ""  # set by the hot lane; other requests have it in their scope
    is_hot: bool = False

    @property
    def actor(self) -> str:
        """The caller's name; empty for an anonymous or unknown caller."""
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


def text_line(entry: AccessLogEntry) -> str:
    """Return a line for people. Texts of the client are quoted, with all but ASCII escaped."""
    status = entry.status or "-"
    end = "" if entry.complete else " cut"
    return (
        f"{rfc3339(entry.time)} {entry.remote} {_quote(entry.actor) if entry.actor else '-'}"
        f" {_quote(entry.scope['method'])}"
        f" {_quote(entry.path)} {status} {entry.bytes_in} {entry.bytes_out}"
        f" {entry.seconds:.4f} {_quote(entry.user_agent)}{end}"
    )


def json_line(entry: AccessLogEntry) -> str:
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
    """The queue of entries, and the thread that empties it.

    Call `add` on the event loop's thread only. The hot lane counts all its responses in `tally`,
    and adds entries for some of them.
    """

    def __init__(
        self,
        format: Literal["text", "json"] | None,
        *,
        descriptor: int = _STANDARD_OUTPUT,
        sinks: Sequence[Callable[[AccessLogEntry], None]] = (),
        settle: Callable[[TallyCounts], None] | None = None,
    ) -> None:
        """With no `format`, no lines are written.

        `sinks` get each entry. `settle` gets the tally's counts twice a second. The thread calls
        them, so they must not wait for long.
        """
        self._line: Callable[[AccessLogEntry], str] = json_line if format == "json" else text_line
        self.is_written = format is not None
        self._output = LineOutput(descriptor) if self.is_written else None
        self.tally = Tally()
        self._sinks = sinks
        self._settle = settle
        self._entries: deque[AccessLogEntry] = deque()
        # Counts of requests without a line: the queue was full; standard output had no room; and
        # those of both that were reported. One thread alone writes each count.
        self._dropped = self._unwritten = self._reported = 0
        self._settled_at = 0.0
        self._idle = False
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dtrfast-access-log", daemon=True)
        self._thread.start()

    def add(self, entry: AccessLogEntry) -> None:
        if len(self._entries) >= _QUEUE_COUNT_MAX:
            self._dropped += 1
            return
        self._entries.append(entry)
        if self._idle:
            self._wake.set()

    def close(self) -> None:
        """Handle the entries in the queue, then end the threads."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        if self._output is not None:
            self._output.close()
        if self._settle is not None:
            _hand([self.tally.take()], self._settle)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            self._idle = True  # before the last look at the queue, so that no entry is missed
            if not self._entries and not self._stop.is_set():
                self._wake.wait(None if self._settle is None else _SETTLE_SECONDS)
            self._idle = False
            self._stop.wait(_GATHER_SECONDS)
            self._drain()
        self._drain()

    def _drain(self) -> None:
        entries = [self._entries.popleft() for _ in range(len(self._entries))]
        for sink in self._sinks:
            _hand(entries, sink)
        if self._settle is not None and time.monotonic() - self._settled_at >= _SETTLE_SECONDS:
            self._settled_at = time.monotonic()
            _hand([self.tally.take()], self._settle)
        output = self._output
        if output is None:
            return
        if not output.has_room:
            self._unwritten += len(entries)  # formatting them would be wasted work
        elif entries:
            self._unwritten += output.write(
                self._line(entry).encode("ascii") + b"\n" for entry in entries
            )
        missing = self._dropped + self._unwritten - self._reported
        if missing and (output.has_room or self._stop.is_set()):
            self._reported += missing
            output.write([f'{{"requests_not_logged": {missing}}}\n'.encode()], anyway=True)


def _hand(things: Iterable[T], sink: Callable[[T], None]) -> None:
    try:
        for thing in things:
            sink(thing)
    except Exception:  # the thread must go on for later requests and for the other sinks
        log.exception("an access log sink failed: it missed some requests")


class AccessLog:
    """Middleware that adds an entry to `writer` when a request is over."""

    def __init__(self, app: App, writer: AccessWriter) -> None:
        self._app = app
        self._writer = writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _RequestMeter(scope, receive, send)
        try:
            await self._app(scope, request.receive, request.send)
        finally:
            self._writer.add(request.finish())


class _RequestMeter:
    """Counts the bytes of one request and its response."""

    __slots__ = ("_began", "_entry", "_gone", "_receive", "_send")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._gone = False
        self._entry = AccessLogEntry(time.time(), scope)
        self._began = time.perf_counter()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._entry.bytes_in += len(message.get("body", b""))
        elif message["type"] == "http.disconnect":
            self._gone = True
        return message

    async def send(self, message: Message) -> None:
        gone = self._gone  # read it first: the last message may itself close the connection
        await self._send(message)
        if message["type"] == "http.response.start":
            self._entry.status = message["status"]
        elif message["type"] == "http.response.body":
            self._entry.bytes_out += len(message.get("body", b""))
            self._entry.complete = not (gone or message.get("more_body", False))

    def finish(self) -> AccessLogEntry:
        self._entry.seconds = time.perf_counter() - self._began
        lane = lane_of(self._entry.scope)
        if lane is not None:
            self._entry.bytes_in += lane.bytes_in
            self._entry.bytes_out += lane.bytes_out
        return self._entry
