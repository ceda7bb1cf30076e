"""Records each request in the metrics, in the kept log and in the times of last pulls."""

from __future__ import annotations

import time
from functools import lru_cache
from urllib.parse import unquote

from dtrfast.index.engine import Engine
from dtrfast.logs.keeper import LogKeeper
from dtrfast.logs.line import LogLine, level_of_status, plain, repository_of
from dtrfast.metrics.meter import Kind, Meter
from dtrfast.server.access_log import AccessLogEntry
from dtrfast.server.last_pulls import LastPulls
from dtrfast.server.tally import TIMED, TallyCounts

_MANIFESTS = "/manifests/"

# The requests of a busy day have the same few thousand paths.
_repository_of = lru_cache(8192)(repository_of)


class RequestRecorder:
    """Records the requests of one process. The thread of the access log calls it."""

    def __init__(
        self,
        process: str,
        meter: Meter,
        keeper: LogKeeper,
        engine: Engine,
        *,
        gets_all_entries: bool,
    ) -> None:
        """`gets_all_entries`: `take` gets an entry for each response of the hot lane, too."""
        self._gets_all_entries = gets_all_entries
        self._process = process
        self._meter = meter
        self._keeper = keeper
        self._pulls = LastPulls(engine)

    def take(self, entry: AccessLogEntry) -> None:
        """Count a request, keep its line, and record a pull."""
        path = entry.path
        method = str(entry.scope["method"])
        status = entry.status or 0
        repository = _repository_of(path)
        if self._keeper.admits(method, status, entry.seconds):
            self._keeper.request(line_of(entry, self._process, repository))
        if entry.is_hot:
            return  # the tally has counted it
        self._meter.note(
            kind_of(method, path),
            status,
            (entry.bytes_in, entry.bytes_out),
            entry.seconds,
            repository if status < 400 else "",
        )
        self._note_if_manifest(method, path, status, int(entry.time))

    def settle(self, taken: TallyCounts) -> None:
        """Add the counts of the hot lane."""
        now = int(time.time())
        # A copy, because the event loop may still add the response that it is counting.
        for (method, target, status), (count, sent) in taken.rows.copy().items():
            path = target.partition(b"?")[0].decode("latin-1")
            repository = _repository_of(path) if status < 400 else ""
            self._meter.note_hot(kind_of(method, path), status, count, sent, repository)
            self._note_if_manifest(method, path, status, now, count)
        self._meter.note_times("pull", taken.seconds, TIMED)
        if not self._gets_all_entries:
            self._keeper.count(taken.unlisted)

    def _note_if_manifest(
        self, method: str, path: str, status: int, at: int, count: int = 1
    ) -> None:
        """Count manifests that were pushed or pulled, and note the pulls."""
        reference = path.rpartition(_MANIFESTS)[2] if path.startswith("/v2/") else ""
        # A path of a blob, in a repository with `manifests` in its name, goes on after a slash.
        if not reference or "/" in reference:
            return
        if (method, status) == ("GET", 200):
            self._meter.note_images(pulled=count)
            self._pulls.note(_repository_of(path), unquote(reference), at)
        elif (method, status) == ("PUT", 201):
            self._meter.note_images(pushed=count)

    def close(self) -> None:
        """Write the times of the last pulls."""
        self._pulls.close()


def kind_of(method: str, path: str) -> Kind:
    """Return the kind under which the metrics count a request."""
    if path.startswith("/v2/"):
        return "pull" if method in ("GET", "HEAD") else "push"
    if path.startswith(("/api/", "/auth/", "/v1/")):
        return "api"
    return "other" if path in ("/healthz", "/readyz") else "console"


def line_of(entry: AccessLogEntry, process: str, repository: str) -> LogLine:
    """Return the request's line for the kept log."""
    status = entry.status or 0
    method = str(entry.scope["method"])
    return LogLine(
        time=entry.time,
        level=level_of_status(status),
        process=process,
        kind="request",
        text=f"{method} {plain(entry.path)}",
        method=plain(method),
        path=plain(entry.path),
        status=status,
        bytes_in=entry.bytes_in,
        bytes_out=entry.bytes_out,
        seconds=round(entry.seconds, 6),
        remote=entry.remote,
        user=plain(entry.actor),
        repository=repository,
        user_agent=plain(entry.user_agent),
        is_cut=not entry.complete,
    )
