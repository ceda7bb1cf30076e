"""The processes of a server. They are started, measured and stopped as one tree.

The cost of a tree is read from /proc: the processor time of all its processes, including reaped
children, and the memory as the kernel counts it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Reading the memory of ten processes costs 0.3 ms: a thousandth of a core at this interval.
_SAMPLE_SECONDS = 0.1
# The time between SIGTERM and SIGKILL. A clean end is not needed, because the data is deleted.
_STOP_SECONDS = 5.0
_SAID_LINES = 5


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a tree in bytes: resident, and resident without a file behind it (anonymous).

    Shared pages count in each process. `anonymous_largest` is the largest value of one process.
    """

    resident: int = 0
    anonymous: int = 0
    anonymous_largest: int = 0

    def at_least(self, other: Memory) -> Memory:
        """Return the larger value of each field."""
        return Memory(
            max(self.resident, other.resident),
            max(self.anonymous, other.anonymous),
            max(self.anonymous_largest, other.anonymous_largest),
        )


@dataclass(slots=True)
class Cost:
    """The cost of a tree while it was watched. It is complete when the watch ends."""

    cpu_seconds: float = 0.0
    peak: Memory = Memory()


def _inherited() -> dict[str, str]:
    """Return the environment without the variable that tests set, to measure the default."""
    return {name: value for name, value in os.environ.items() if name != "DTRFAST_TEST_ASSEMBLY"}


class ProcessTree:
    """A program and its children, in their own session, so that Ctrl-C does not reach them."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start `command`. Its output goes to the file `log`."""
        self._log = log
        with log.open("wb") as output:
            self._leader = subprocess.Popen(
                command,
                env=_inherited() | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def ended(self) -> bool:
        """True if the program has ended. It should not end before `stop`."""
        return self._leader.poll() is not None

    def said(self) -> str:
        """Return the last lines of the program's output."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_SAID_LINES:])

    def pids(self) -> list[int]:
        """Return the ids of all live processes of the tree."""
        try:
            leader = psutil.Process(self._leader.pid)
            return [leader.pid, *(child.pid for child in leader.children(recursive=True))]
        except psutil.NoSuchProcess:
            return []

    @contextmanager
    def watched(self) -> Iterator[Cost]:
        """Measure the tree while the block runs."""
        cost = Cost()
        pids = self.pids()
        before = sum(map(cpu_seconds, pids))
        for pid in pids:
            _forget_peak(pid)
        over = threading.Event()
        watcher = threading.Thread(target=_watch, args=(pids, cost, over))
        watcher.start()
        try:
            yield cost
        finally:
            over.set()
            watcher.join()
            pids = self.pids()
            cost.cpu_seconds = sum(map(cpu_seconds, pids)) - before
            cost.peak = cost.peak.at_least(memory(pids, peak=True))

    def stop(self) -> None:
        """Stop the tree: SIGTERM for the program, then SIGKILL for its session. Idempotent."""
        if self._leader.returncode is None:
            self._leader.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._leader.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._leader.pid, signal.SIGKILL)
        self._leader.wait()


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process and its ended children; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # Fields 14 to 17 of proc(5); the split begins at field 3.
    return sum(map(int, fields[11:15])) / _TICKS_PER_SECOND


def memory(pids: Sequence[int], *, peak: bool = False) -> Memory:
    """Return the memory of these processes now, or with `peak` their highest resident memory."""
    resident = "VmHWM" if peak else "VmRSS"
    states = [state for pid in pids if (state := _status(pid))]
    anonymous = [state.get("RssAnon", 0) for state in states]
    return Memory(
        sum(state.get(resident, 0) for state in states), sum(anonymous), max(anonymous, default=0)
    )


def _watch(pids: Sequence[int], cost: Cost, over: threading.Event) -> None:
    """Sample the memory, because the kernel keeps no peak of anonymous memory."""
    while not over.wait(_SAMPLE_SECONDS):
        cost.peak = cost.peak.at_least(memory(pids))


def _status(pid: int) -> dict[str, int]:
    """Return the sizes in /proc/PID/status, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(value.removesuffix("kB")) * 1024 for name, value in pairs}


def _forget_peak(pid: int) -> None:
    """Reset the peak of resident memory (proc(5), clear_refs)."""
    with suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")
