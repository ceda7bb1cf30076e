"""Starts the workers and the housekeeper, restarts those that die, and stops all of them.

One thread waits for signals with all of them blocked, so there are no handlers and no races.
Children are spawned, never forked: they share the lock of the data directory, and nothing else.
Each worker has a listening socket of its own, unless a service manager passed a single one for all.
The supervisor keeps them open. When a worker dies, its successor takes the connections that wait
there. Hypercorn's own runner is not used, because it ends the whole server when one worker is
killed.
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
from dtrfast.machine import limits, locks
from dtrfast.server import listener, memory
from dtrfast.server.service_manager import Notices

log = logging.getLogger("dtrfast.supervisor")

APP = "dtrfast.app:serving"

# A child that dies at a lower age counts as failing at its start.
_YOUNG_SECONDS = 5.0
_RESTART_DELAY_MIN_SECONDS = 0.1
_RESTART_DELAY_MAX_SECONDS = 5.0
# Time for a worker to save uploads and close the store, after the time that transfers get.
_STOP_MARGIN_SECONDS = 10.0
# Enough for ten thousand connections, if a thousand are in transfers. A transfer takes a duplicate
# of its socket and five files.
_DESCRIPTORS_WANTED = 16_384

# The memory of a worker: 60 MB when it is idle, 40 transfers of 2 MiB, and some passwords
# (docs/operations.md). The supervisor and the housekeeper take the other part.
_WORKER_MEMORY = 192 << 20
_OTHER_MEMORY = 128 << 20

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP}


@dataclass(slots=True)
class _Child:
    """A process that must always run, and its restarts."""

    name: str
    module: str
    sockets: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0

    @property
    def is_running(self) -> bool:
        return self.process is not None

    def spawn(self, start: lifeline.Start, inherited: Sequence[int]) -> None:
        self.process = subprocess.Popen(
            # -P: do not import modules from the folder in which the server was started.
            [sys.executable, "-P", "-m", self.module],
            stdin=subprocess.PIPE,
            pass_fds=inherited,
            env={**memory.ENVIRONMENT, **os.environ},
        )
        self.started_at = time.monotonic()
        assert self.process.stdin is not None
        # If the child has died already, `reap` notices it.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(lifeline.encode(start))
            self.process.stdin.flush()

    def reap(self) -> int | None:
        """Return the exit status if the process has ended, else None. Plan the next start."""
        if self.process is None or (status := self.process.poll()) is None:
            return None
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process = None
        now = time.monotonic()
        is_young = now - self.started_at < _YOUNG_SECONDS
        self.failures = self.failures + 1 if is_young else 0
        self.start_at = now
        if self.failures > 1:  # the first failure causes no delay, each further one doubles it
            delay_seconds = _RESTART_DELAY_MIN_SECONDS * 2.0 ** min(self.failures, 16)
            self.start_at += min(delay_seconds, _RESTART_DELAY_MAX_SECONDS)
        return status

    def send(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)


def worker_count(config: Config) -> int:
    """Return the setting. If it is 0, return one worker for each core that the process may use, but
    only as many as have memory; at least 1.
    """
    if config.server.workers:
        return config.server.workers
    fitting = (limits.usable_memory() - _OTHER_MEMORY) // _WORKER_MEMORY
    return max(1, min(limits.count_cores(), fitting))


def hold_signals() -> None:
    """Block the signals until `Supervisor.run` takes them.

    A process that reads that the server listens may stop it before `run` is called. Call this
    before the process has another thread: a thread that does not block a signal may get it, which
    ends the process.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


class Supervisor:
    """The parent of the workers and the housekeeper. Call `run` once, in the main thread."""

    def __init__(
        self,
        config: Config,
        listening: Sequence[socket.socket],
        lock_descriptor: int,
        *,
        app: str = APP,
        notices: Notices | None = None,
    ) -> None:
        """Take over the listening sockets and the data directory's lock.

        `app`: module and function that make a worker's application, as `module:function`. `notices`
        tell a service manager when the server is ready and when it stops.
        """
        self._config = config
        self._listening = listening
        self._lock = lock_descriptor
        self._app = app
        self._notices = notices or Notices({})
        # The housekeeper gets no socket, because it would keep it open after its worker stops.
        self._children = [
            _Child(f"worker-{number}", "dtrfast.server.worker", tuple(one.fileno() for one in mine))
            for number, mine in enumerate(listener.spread(listening, worker_count(config)))
        ]
        self._children.append(_Child("housekeeper", "dtrfast.jobs"))
        self._exit_status = 0

    def run(self) -> int:
        """Serve until a signal to stop comes. Return the exit status."""
        _raise_descriptor_limit()
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            for child in self._children:
                self._spawn(child)
            # Connections wait in the kernel until a worker takes them.
            self._notices.send("READY=1")
            self._supervise()
            self._notices.send("STOPPING=1")
            self._stop()
        finally:
            for child in self._children:
                if child.process is not None:
                    child.process.kill()
                    child.process.wait()
                    child.reap()
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        return self._exit_status

    def _spawn(self, child: _Child) -> None:
        start = lifeline.Start(
            name=child.name,
            config=msgspec.Raw(self._config.encode()),
            sockets=child.sockets,
            app=self._app,
        )
        child.spawn(start, (*child.sockets, self._lock))

    def _supervise(self) -> None:
        """Restart children until a signal to stop comes, or a child says that it cannot start."""
        while True:
            waiting = [child.start_at for child in self._children if not child.is_running]
            seconds = max(0.0, min(waiting) - time.monotonic()) if waiting else None
            number = _wait_signal(seconds)
            if number in (signal.SIGTERM, signal.SIGINT):
                log.info("stopping")
                return
            for child in self._children:
                status = child.reap()
                if status == lifeline.EXIT_REFUSED:
                    self._exit_status = 1
                    return
                if status is not None:
                    end = (
                        f"was killed by signal {-status} ({signal.strsignal(-status)})"
                        if status < 0
                        else f"ended with status {status}"
                    )
                    log.error("%s %s; starting a new one", child.name, end)
            now = time.monotonic()
            for child in self._children:
                if not child.is_running and child.start_at <= now:
                    self._spawn(child)

    def _stop(self) -> None:
        """Stop the workers, then the housekeeper, which cleans up after them.

        A second signal ends the wait, and so does the deadline.
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
                remaining, reason = deadline - time.monotonic(), ""
                if remaining <= 0:
                    reason = "they did not stop in time"
                elif _wait_signal(remaining) in (signal.SIGINT, signal.SIGTERM):
                    reason = "asked to stop a second time"
                if reason:
                    log.warning("ending all processes: %s", reason)
                    return

    def _is_any_running(self, group: Sequence[_Child]) -> bool:
        """Reap all children first: those that end together cause only one signal."""
        for child in self._children:
            child.reap()
        return any(child.is_running for child in group)


def _raise_descriptor_limit() -> None:
    """Raise the soft limit to the hard limit, for the children, which inherit it.

    The usual soft limit is 1024, which only protects programs that call `select`.
    """
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if limit != resource.RLIM_INFINITY and limit < _DESCRIPTORS_WANTED:
        log.warning(
            "a worker may open %d files and connections: raise the hard limit (`ulimit -Hn`,"
            " LimitNOFILE= of systemd) to %d if thousands of clients connect",
            limit,
            _DESCRIPTORS_WANTED,
        )


def _wait_signal(seconds: float | None) -> int | None:
    """Return the next of `_SIGNALS`; None if `seconds` pass first."""
    if seconds is None:
        return signal.sigwait(_SIGNALS)
    information = signal.sigtimedwait(_SIGNALS, seconds)
    return None if information is None else information.si_signo


def open_listening(
    config: Config, passed: list[socket.socket] | None = None
) -> tuple[int, list[socket.socket]]:
    """Take the data directory's lock, then the address, unless sockets were passed.

    Raises StartRefused.
    """
    descriptor = locks.take_server(config.store.data)
    try:
        return descriptor, passed or listener.listen(config.server, worker_count(config))
    except BaseException:
        os.close(descriptor)
        raise
