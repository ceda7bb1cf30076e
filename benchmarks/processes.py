"""A server's processes: started, watched and ended as one tree.

What a tree costs is read from /proc: processor time of all its processes with those it reaped, and
memory as the kernel counts it.
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
# Servers are asked to end once. What they would still do is of no use: their data is deleted.
_STOP_SECONDS = 5.0
_SAID_LINES = 5


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a tree: resident in all, and resident that no file stands behind.

    Pages that processes share count in each of them. `anonymous_largest` is that of one process.
    """

    resident: int = 0
    anonymous: int = 0
    anonymous_largest: int = 0

    def at_least(self, other: Memory) -> Memory:
        """The larger of each."""
        return Memory(
            max(self.resident, other.resident),
            max(self.anonymous, other.anonymous),
            max(self.anonymous_largest, other.anonymous_largest),
        )


@dataclass(slots=True)
class Cost:
    """What a tree spent while it was watched; complete when the watch is over."""

    cpu_seconds: float = 0.0
    peak: Memory = Memory()


def _inherited() -> dict[str, str]:
    """The environment, without the variable of a test run: what is measured is as users have it."""
    return {name: value for name, value in os.environ.items() if name != "DTRFAST_TEST_ASSEMBLY"}


class ProcessTree:
    """A program and all that it starts, in a session of its own, so that Ctrl-C is ours."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start `command`; what it prints goes to the file `log`."""
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
        """Whether the program is gone, which it should not be before `stop`."""
        return self._leader.poll() is not None

    def said(self) -> str:
        """The end of what it printed: as much as one reads."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_SAID_LINES:])

    def pids(self) -> list[int]:
        """All processes of the tree that live."""
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
        """End the tree: politely, then all that is left of its session. Does nothing twice."""
        if self._leader.returncode is None:
            self._leader.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._leader.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._leader.pid, signal.SIGKILL)
        self._leader.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of its children that ended; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # Fields 14 to 17 of proc(5); the split begins at field 3.
    return sum(map(int, fields[11:15])) / _TICKS_PER_SECOND


def memory(pids: Sequence[int], *, peak: bool = False) -> Memory:
    """What these processes hold now, or with `peak` the most that they ever had resident."""
    resident = "VmHWM" if peak else "VmRSS"
    states = [state for pid in pids if (state := _status(pid))]
    anonymous = [state.get("RssAnon", 0) for state in states]
    return Memory(
        sum(state.get(resident, 0) for state in states), sum(anonymous), max(anonymous, default=0)
    )


def _watch(pids: Sequence[int], cost: Cost, over: threading.Event) -> None:
    """The kernel keeps the peak of resident memory but not of anonymous memory."""
    while not over.wait(_SAMPLE_SECONDS):
        cost.peak = cost.peak.at_least(memory(pids))


def _status(pid: int) -> dict[str, int]:
    """The sizes in /proc/PID/status, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(value.removesuffix("kB")) * 1024 for name, value in pairs}


def _forget_peak(pid: int) -> None:
    """Let the peak of resident memory start anew (proc(5), clear_refs)."""
    with suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")
