"""Audit events: who did what, from where, when, and whether it was allowed.

Lines of JSON in files that all processes of a server append to, within a bound (`line_files`).

Refusals can come at thousands a second, and so can sign-ins. Equal ones within a minute are one
event with a count (`folds`), and each kind of work has a share of the log (`shares`): no caller can
push what matters out of it.

An event is made of the fields below and nothing else; no caller puts a secret into one.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from dtrfast.identity.folds import RULES, Folder
from dtrfast.identity.shares import Share, share_of
from dtrfast.identity.timeline import Timeline
from dtrfast.machine import line_files
from dtrfast.machine.line_files import LineFiles

log = logging.getLogger("dtrfast.events")

Outcome = Literal["ok", "refused", "failed"]
Detail = dict[str, str | int | bool | None]

_QUEUE_COUNT_MAX = 10_000
_GATHER_SECONDS = 0.2
_TRIM_SECONDS = 60.0
_TEXT_LENGTH_MAX = 512
# What a page reads at most: a filter that finds little goes on with the next page.
_PAGE_BYTES_MAX = 2 << 20


class Event(msgspec.Struct, frozen=True):
    """An act of a caller, or of the server. `time`: seconds since the epoch; `subject`: its object.

    `repository` and `owner` are the ids of the repository that it is about and of the account that
    had it: 0 where there was none, None in events of older versions and in those about no request.
    """

    time: float
    kind: str
    actor: str
    remote: str
    outcome: Outcome
    subject: str = ""
    detail: Detail = {}
    repository: int | None = None
    owner: int | None = None


class Events(Protocol):
    """Where events go."""

    def add(self, event: Event, *, by_admin: bool = False) -> None:
        """Keep an event; `by_admin`: of a system administrator, or of the server. Never blocks,
        never raises.
        """
        ...


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


# ---- writing ---------------------------------------------------------------------------------
class _Stream:
    """One share of the log: what is folded, what waits to be written, and the files."""

    def __init__(
        self, directory: Path, size_max: int, share: Share, clock: Callable[[], float]
    ) -> None:
        self.files = LineFiles(directory, size_max, share.value)
        rule = RULES.get(share)
        self.folder = None if rule is None else Folder(rule, clock)
        self._queue: deque[Event] = deque()
        self._dropped = 0

    def add(self, event: Event) -> None:
        if self.folder is not None and not self.folder.admit(event):
            return
        if len(self._queue) >= _QUEUE_COUNT_MAX:
            self._dropped += 1
        else:
            self._queue.append(event)

    def drain(self, *, everything: bool) -> None:
        """Write what waits, and counts of what was folded."""
        events = [self._queue.popleft() for _ in range(len(self._queue))]
        if self.folder is not None:
            events += self.folder.settle(everything=everything)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            lost: Detail = {"events": dropped}
            events.append(Event(time.time(), "events.lost", "system", "", "failed", "", lost))
        if events:
            try:
                self.files.append(b"".join(_line(event) for event in events))
            except OSError as error:
                log.error("%d audit events are lost: %s", len(events), error)


class EventWriter:
    """Appends events of one process, from a thread of its own. `size_max` is for all files.

    A killed process loses what it has not written for `_GATHER_SECONDS`, and counts.
    """

    def __init__(
        self, directory: Path, size_max: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._size_max = size_max
        size = size_max // len(Share)
        self._streams = {share: _Stream(directory, size, share, clock) for share in Share}
        self._clock = clock
        # When to look at the files of versions before shares; inf: none is left.
        self._trim_at = 0.0
        self._lock = threading.Lock()
        self._latest = -1.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dtrfast-events", daemon=True)
        self._thread.start()

    def add(self, event: Event, *, by_admin: bool = False) -> None:
        """See `Events.add`."""
        share = share_of(event.kind, event.outcome, by_admin=by_admin)
        # Here, since what waits and what is folded stays in memory.
        self._streams[share].add(_shortened(self._in_order(event)))

    def _in_order(self, event: Event) -> Event:
        """The event with a time after that of the one before. Clocks give whole seconds, and files
        of two shares have no order but that of the times.
        """
        now = time.time()
        with self._lock:
            at = now if int(now) == event.time else event.time
            if at <= self._latest and int(at) == int(self._latest):
                at = self._latest + 0.000_001
            self._latest = at
        return msgspec.structs.replace(event, time=at)

    def close(self) -> None:
        """Write what is there, then end."""
        self._stop.set()
        self._thread.join()
        for stream in self._streams.values():
            stream.files.close()

    def _run(self) -> None:
        while not self._stop.wait(_GATHER_SECONDS):
            self._drain()
        self._drain(everything=True)

    def _drain(self, *, everything: bool = False) -> None:
        for stream in self._streams.values():
            stream.drain(everything=everything)
        if self._clock() >= self._trim_at:
            self._trim_at = self._clock() + _TRIM_SECONDS if self._trim() else math.inf

    def _trim(self) -> bool:
        try:
            return line_files.trim(self._directory, self._size_max)
        except OSError as error:
            log.error("old audit events cannot be removed: %s", error)
            return True


def _line(event: Event) -> bytes:
    return _encoder.encode(event) + b"\n"


def _shortened(event: Event) -> Event:
    """What clients sent may be of any length, and may hold what UTF-8 cannot."""
    return msgspec.structs.replace(
        event,
        actor=_plain(event.actor),
        remote=_plain(event.remote),
        subject=_plain(event.subject),
        detail={
            name: _plain(value) if isinstance(value, str) else value
            for name, value in event.detail.items()
        },
    )


def _plain(text: str) -> str:
    return text[:_TEXT_LENGTH_MAX].encode("utf-8", "replace").decode()


# ---- reading ---------------------------------------------------------------------------------
# Kinds of events about repositories. A team or an account may have the name of one.
_OF_REPOSITORIES = (
    "push", "delete", "refusal", "repository.", "tag.", "manifest.", "grant.", "trust.",
)  # fmt: skip


class RepositoryEvents(msgspec.Struct, frozen=True):
    """The events of one repository: not those of another one that had its name, nor those of the
    time in which another account had it. `owner` None: whichever account had it.

    Events of older versions name no ids: those after `since`, with the repository's name, count.
    """

    name: str
    repository: int
    owner: int | None
    since: float

    def admits(self, event: Event) -> bool:
        if event.repository is None:
            is_later = int(event.time) > self.since and event.subject == self.name
            return is_later and event.kind.startswith(_OF_REPOSITORIES)
        return event.repository == self.repository and self.owner in (None, event.owner)


class EventFilter(msgspec.Struct, frozen=True):
    """Which events to show; what is empty filters nothing.

    `kind` may end in a dot and `subject` in a slash: then they are beginnings. Kinds are separated
    by commas; each of them is wanted. `hides_remote`: events are shown without addresses, and
    `text` does not find them by one. `of`: only those of one repository.
    """

    kind: str = ""
    actor: str = ""
    remote: str = ""
    subject: str = ""
    outcome: str = ""
    since: float = 0.0
    until: float = 0.0
    text: str = ""
    hides_remote: bool = False
    of: RepositoryEvents | None = None

    def admits(self, event: Event, line: bytes) -> bool:
        return (
            any(_begins(event.kind, kind, ".") for kind in self.kind.split(","))
            and _begins(event.subject, self.subject, "/")
            and (self.of is None or self.of.admits(event))
            and self.actor in ("", event.actor)
            and self.remote in ("", event.remote)
            and self.outcome in ("", event.outcome)
            and (not self.since or event.time >= self.since)
            and (not self.until or event.time < self.until)
            and (not self.text or self.text.encode("utf-8", "replace") in line)
        )


def _begins(text: str, wanted: str, end: str) -> bool:
    if wanted.endswith(end):
        return text.startswith(wanted)
    return wanted in ("", text)


class EventReader:
    """Reads the log while others write it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def page(
        self, wanted: EventFilter, before: str = "", limit: int = 100
    ) -> tuple[list[Event], str]:
        """Events, newest first, and the cursor for those before; empty at the end of the log.

        A page may be short, or empty, and not be the last. Raises `PageInvalid`.
        """
        events: list[Event] = []
        read = 0
        timeline = Timeline(self._directory, before, _parse)
        for event, line in timeline:
            read += len(line)
            if wanted.hides_remote:
                event = msgspec.structs.replace(event, remote="")
                line = _encoder.encode(event)
            if wanted.since and event.time < wanted.since - 60:
                return events, ""  # processes gather for moments: nothing later comes before this
            if wanted.admits(event, line):
                events.append(event)
            if len(events) >= limit or read >= _PAGE_BYTES_MAX:
                return events, timeline.cursor()
        return events, ""


def _parse(line: bytes) -> Event | None:
    try:
        return _decoder.decode(line)
    except (ValueError, RecursionError):
        return None  # torn by a power cut, or damaged
