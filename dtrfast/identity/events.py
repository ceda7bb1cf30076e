"""Audit events: the acts of callers, with actor, address, time and outcome.

The log is lines of JSON in files of bounded size. All processes of a server append to them
(`line_files`).

Clients can cause thousands of refusals or sign-ins a second. Equal events within a minute are thus
one event and a count (`folds`). Each kind of work has its own share of the log (`shares`), so no
caller can push out events of another kind.

An event has the fields of `Event` and nothing else. Callers of `Events.add` must not put a secret
into one.
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
# Bytes that one page reads at most. A filter that matches few events continues on the next page.
_PAGE_BYTES_MAX = 2 << 20


class Event(msgspec.Struct, frozen=True):
    """An act of a caller, or of the server.

    `time` is in seconds since the epoch. `subject` is the object of the act, such as a repository's
    name. `repository` is the id of the repository that the event is about. `owner` is the id of the
    account that had it then. Both are 0 if there was none. They are None in events of older
    versions, and in events that belong to no request.
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
    """The receiver of audit events."""

    def add(self, event: Event, *, by_admin: bool = False) -> None:
        """Keep an event. `by_admin`: its actor is a system administrator or the server.

        Never blocks, never raises.
        """
        ...


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


# ---- writing ---------------------------------------------------------------------------------
class _Stream:
    """One share of the log: its folded events, its queue, and its files."""

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
        """Write the queue, and the counts of folded events whose minute is over.

        With `everything`, write all counts.
        """
        events = [self._queue.popleft() for _ in range(len(self._queue))]
        if self.folder is not None:
            events += self.folder.settle(everything=everything)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            lost: Detail = {"events": dropped}
            events.append(Event(time.time(), "events.lost", "system", "", "failed", "", lost))
        if events:
            try:
                self.files.append(b"".join(_encoder.encode(event) + b"\n" for event in events))
            except OSError as error:
                log.error("audit log write failed, %d events lost: %s", len(events), error)


class EventWriter:
    """Appends the events of one process, from a thread of its own.

    `size_max` bounds the bytes of all files together. A killed process loses the events of the last
    `_GATHER_SECONDS` and its counts.
    """

    def __init__(
        self, directory: Path, size_max: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._size_max = size_max
        size = size_max // len(Share)
        self._streams = {share: _Stream(directory, size, share, clock) for share in Share}
        self._clock = clock
        # The next time to trim files of versions before shares; inf: none is left.
        self._trim_at = 0.0
        self._lock = threading.Lock()
        self._latest = -1.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dtrfast-events", daemon=True)
        self._thread.start()

    def add(self, event: Event, *, by_admin: bool = False) -> None:
        """See `Events.add`."""
        share = share_of(event.kind, event.outcome, by_admin=by_admin)
        # Clocks give whole seconds, and only the times order events of different shares. So each
        # event gets a time after that of the event before.
        now = time.time()
        with self._lock:
            at = now if int(now) == event.time else event.time
            if at <= self._latest and int(at) == int(self._latest):
                at = self._latest + 0.000_001
            self._latest = at
        # Clients send texts of any length. The texts are cut here, before the queue and the folds
        # hold them in memory.
        shortened = msgspec.structs.replace(
            event,
            time=at,
            actor=_plain(event.actor),
            remote=_plain(event.remote),
            subject=_plain(event.subject),
            detail={
                name: _plain(value) if isinstance(value, str) else value
                for name, value in event.detail.items()
            },
        )
        self._streams[share].add(shortened)

    def close(self) -> None:
        """Write all events and counts, then end the thread."""
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
        if self._clock() < self._trim_at:
            return
        try:
            has_more = line_files.trim(self._directory, self._size_max)
        except OSError as error:
            log.error("could not remove old audit events: %s", error)
            has_more = True
        self._trim_at = self._clock() + _TRIM_SECONDS if has_more else math.inf


def _plain(text: str) -> str:
    return text[:_TEXT_LENGTH_MAX].encode("utf-8", "replace").decode()


# ---- reading ---------------------------------------------------------------------------------
# Kinds of events about repositories. The subject of another kind, a team, may have an equal name.
_OF_REPOSITORIES = (
    "push", "delete", "refusal", "repository.", "tag.", "manifest.", "grant.", "trust.",
)  # fmt: skip


class RepositoryEvents(msgspec.Struct, frozen=True):
    """The events of one repository.

    They exclude events of another repository that had the same name. They also exclude the time in
    which another account had the repository, unless `owner` is None. Events of older versions have
    no ids: they count if they are later than `since` and have the repository's name.
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
    """A filter of events. An empty field filters nothing.

    * `kind`: one or more kinds, with commas between them. A kind that ends in a dot is a prefix.
    * `subject`: a subject that ends in a slash is a prefix.
    * `since`, `until`: seconds since the epoch; `until` is exclusive.
    * `text`: a part of the event's line.
    * `hides_remote`: events are shown without addresses, and `text` does not match an address.
    * `of`: only the events of one repository.
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
    """Reads the log while processes write it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def page(
        self, wanted: EventFilter, before: str = "", limit: int = 100
    ) -> tuple[list[Event], str]:
        """Return events, the newest first, and the cursor of the next page.

        `before` is the cursor of an earlier page, or empty. The returned cursor is empty at the end
        of the log. A page may be short or empty without being the last. Raises `PageInvalid`.
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
                return events, ""  # processes write late by moments, so a minute is enough
            if wanted.admits(event, line):
                events.append(event)
            if len(events) >= limit or read >= _PAGE_BYTES_MAX:
                return events, timeline.cursor()
        return events, ""


def _parse(line: bytes) -> Event | None:
    try:
        return _decoder.decode(line)
    except (ValueError, RecursionError):
        return None  # cut by a power failure, or damaged
