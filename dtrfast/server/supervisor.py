"""Starts the workers and the housekeeper, restarts what dies, and stops all of them.

It is one thread that waits for signals with all of them blocked, so there are no handlers and no
races. Children are spawned, never forked: they share the lock of the data directory, and nothing
else. Each worker has a listening socket of its own, which is kept open here: what waits there when
a worker dies is taken by its successor. Hypercorn's own runner is not used because it ends the
whole server when one worker is killed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from dtrfast.config import Config
from dtrfast.jobs import lifeline
from dtrfast.machine import locks
from dtrfast.server import listener, memory

log = logging.getLogger("dtrfast.supervisor")

APP = "dtrfast.app:serving"

# A child that dies younger than this is taken to be failing at its start.
_YOUNG_SECONDS = 5.0
_RESTART_DELAY_MIN_SECONDS = 0.1
_RESTART_DELAY_MAX_SECONDS = 5.0
# What a worker may need, beyond the time it gives transfers, to save uploads and close the store.
_STOP_MARGIN_SECONDS = 10.0
# Ten thousand connections, of which a thousand are in a transfer with a duplicate and five files.
_DESCRIPTORS_WANTED = 16_384

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP}


@dataclass(slots=True)
class _Child:
    """A process that must always run, through all its lives."""

    name: str
    module: str
    sockets: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0

    @property
    def running(self) -> bool:
        return self.process is not None

    def spawn(self, start: lifeline.Start, inherited: Sequence[int]) -> None:
        self.process = subprocess.Popen(
            # Without the folder that the server was started in: what lies there is not ours.
            [sys.executable, "-P", "-m", self.module],
            stdin=subprocess.PIPE,
            pass_fds=inherited,
            env={**memory.ARENAS, **os.environ},
        )
        self.started_at = time.monotonic()
        assert self.process.stdin is not None
        # A child that died already is noticed by its exit, not here.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(lifeline.encode(start))
            self.process.stdin.flush()

    def reap(self) -> int | None:
        """The exit status once the process has ended, else None. Plans the next start."""
        if self.process is None or (status := self.process.poll()) is None:
            return None
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process = None
        now = time.monotonic()
        young = now - self.started_at < _YOUNG_SECONDS
        self.failures = self.failures + 1 if young else 0
        self.start_at = now + _restart_delay_seconds(self.failures)
        return status

    def send(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)


def _restart_delay_seconds(failures: int) -> float:
    """Nothing for the first death; then doubling."""
    if failures < 2:
        return 0.0
    return min(_RESTART_DELAY_MIN_SECONDS * 2.0 ** min(failures, 16), _RESTART_DELAY_MAX_SECONDS)


def worker_count(config: Config) -> int:
    return config.server.workers or len(os.sched_getaffinity(0))


def hold_signals() -> None:
    """Let signals wait for `Supervisor.run`: who is told that the server listens may stop it.

    Call it before this process has another thread: a signal goes to any that does not hold it, and
    ends the process.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


class Supervisor:
    """Call `run` once, in the main thread. `app` names what makes the application of a worker."""

    def __init__(
        self,
        config: Config,
        listening: Sequence[socket.socket],
        lock_descriptor: int,
        *,
        app: str = APP,
    ) -> None:
        """Takes over `listening`, one socket for each worker, and the lock."""
        self._config = config
        self._listening = listening
        self._lock = lock_descriptor
        self._app = app
        # The housekeeper has no socket: it would keep it open after its worker.
        self._children = [
            _Child(f"worker-{number}", "dtrfast.server.worker", (mine.fileno(),))
            for number, mine in enumerate(listening)
        ]
        self._children.append(_Child("housekeeper", "dtrfast.jobs"))
        self._exit_status = 0

    def run(self) -> int:
        """Serve until a signal asks for an end. Returns the exit status."""
        _raise_descriptor_limit()
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self._start()
            self._supervise()
            self._stop()
        finally:
            self._kill()
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        return self._exit_status

    def _start(self) -> None:
        for child in self._children:
            self._spawn(child)

    def _spawn(self, child: _Child) -> None:
        start = lifeline.Start(
            name=child.name,
            config=msgspec.Raw(self._config.encode()),
            sockets=child.sockets,
            app=self._app,
        )
        child.spawn(start, (*child.sockets, self._lock))

    def _supervise(self) -> None:
        """Until a signal to stop comes, or a child says that it cannot start."""
        while True:
            number = _wait_signal(self._seconds_to_next_start())
            if number in (signal.SIGTERM, signal.SIGINT):
                log.info("stopping")
                return
            for child in self._children:
                status = child.reap()
                if status == lifeline.EXIT_REFUSED:
                    self._exit_status = 1
                    return
                if status is not None:
                    log.error("%s %s; starting a new one", child.name, _how_it_ended(status))
            self._restart_due()

    def _seconds_to_next_start(self) -> float | None:
        waiting = [child.start_at for child in self._children if not child.running]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _restart_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if not child.running and child.start_at <= now:
                self._spawn(child)

    def _stop(self) -> None:
        """Ask the workers to stop, then the housekeeper, which looks after what they leave.

        A second signal cuts the wait short.
        """
        for listening in self._listening:
            listening.close()
        limit = self._config.server.graceful_stop_seconds + _STOP_MARGIN_SECONDS
        deadline = time.monotonic() + limit
        *workers, housekeeper = self._children
        for group in (workers, [housekeeper]):
            for child in group:
                child.send(signal.SIGTERM)
            while self._is_any_running(group):
                if (reason := self._wait_stopped(deadline)) is not None:
                    log.warning("ending all processes: %s", reason)
                    return

    def _wait_stopped(self, deadline: float) -> str | None:
        """Wait for the next child to end. A reason when waiting should end instead."""
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return "they did not stop in time"
        if _wait_signal(remaining) in (signal.SIGINT, signal.SIGTERM):
            return "asked to stop a second time"
        return None

    def _is_any_running(self, group: Sequence[_Child]) -> bool:
        """Looks at them first: children that end together send one signal, which may be taken."""
        for child in self._children:
            child.reap()
        return any(child.running for child in group)

    def _kill(self) -> None:
        for child in self._children:
            if child.process is not None:
                child.process.kill()
                child.process.wait()
                child.reap()


def _raise_descriptor_limit() -> None:
    """For the children, which inherit it: shells give 1024, which guards programs that select."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if limit != resource.RLIM_INFINITY and limit < _DESCRIPTORS_WANTED:
        log.warning(
            "a worker may open %d files and connections: raise the hard limit (`ulimit -Hn`,"
            " LimitNOFILE= of systemd) to %d where thousands of clients connect",
            limit,
            _DESCRIPTORS_WANTED,
        )


def _wait_signal(seconds: float | None) -> int | None:
    """The next signal of ours, or None when `seconds` have passed first."""
    if seconds is None:
        return signal.sigwait(_SIGNALS)
    information = signal.sigtimedwait(_SIGNALS, seconds)
    return None if information is None else information.si_signo


def _how_it_ended(status: int) -> str:
    if status < 0:
        return f"was killed by signal {-status} ({signal.strsignal(-status)})"
    return f"ended with status {status}"


def open_listening(config: Config) -> tuple[int, list[socket.socket]]:
    """Take the data directory's lock, then the address. Raises StartRefused."""
    descriptor = locks.take_server(config.store.data)
    try:
        return descriptor, listener.listen(config.server, worker_count(config))
    except BaseException:
        os.close(descriptor)
        raise
