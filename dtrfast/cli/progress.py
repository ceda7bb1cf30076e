"""Progress of long work, on standard error.

The work stores its state in a `Meter`, which costs one assignment. A thread reads the state and
draws it. On a terminal a bar appears after two seconds and vanishes with the work. Elsewhere a line
is written every half minute, so that logs of long jobs do not stand still.

The thread never hides the cursor and leaves no line behind, so a command that is killed leaves a
usable terminal.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, TextIO

from rich.console import Console, RenderableType
from rich.progress import Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

from dtrfast.cli.figures import clock, human

Unit = Literal["bytes", "objects"]

# Shorter work shows nothing.
_QUIET_SECONDS = 2.0
_DRAW_SECONDS = 0.15
_LINE_SECONDS = 30.0
# Narrower terminals have no room for a bar beside the numbers, or for a rate.
_BAR_COLUMNS_MIN = 72
_RATE_COLUMNS_MIN = 52
_BAR_WIDTH = 24
_ERASE_LINE = "\r\x1b[K"

_displayed = threading.Lock()


@dataclass(frozen=True, slots=True)
class MeterState:
    """One state of a work: `total` is 0 if it is unknown."""

    part: str
    done: int = 0
    total: int = 0
    unit: Unit = "objects"


class Meter:
    """The progress of a work. The work's thread writes it, the display's thread reads it."""

    def __init__(self, part: str, unit: Unit = "objects") -> None:
        self.state = MeterState(part, unit=unit)
        # Keeps the display away from the terminal for the length of a block.
        self.pause: Callable[[], AbstractContextManager[None]] = nullcontext

    def __call__(self, part: str, done: int, total: int = 0) -> None:
        """Note that `done` objects of a part are done."""
        self.state = MeterState(part, done, total)

    def part(self, part: str, done: int, total: int = 0) -> None:
        """Note that `done` bytes of a part are done."""
        self.state = MeterState(part, done, total, "bytes")

    def bytes(self, done: int, total: int = 0) -> None:
        """Note that `done` bytes of the present part are done."""
        self.state = MeterState(self.state.part, done, total, "bytes")

    def wait(self, part: str) -> None:
        """Note that the work waits for something that has no number."""
        self.state = MeterState(part)

    def say(self, tell: Callable[[str], None], text: str) -> None:
        """Print a line with `tell` in the middle of the work."""
        with self.pause():
            tell(text)
            sys.stdout.flush()


@contextmanager
def shown(part: str, unit: Unit = "objects") -> Iterator[Meter]:
    """Show the progress of the block. Inside another block, the outer one keeps its display."""
    meter = Meter(part, unit)
    if not _displayed.acquire(blocking=False):
        yield meter
        return
    try:
        display = _Display(meter, sys.stderr)
        try:
            yield meter
        finally:
            display.close()
    finally:
        _displayed.release()


class _Display:
    """The thread that draws a meter."""

    def __init__(self, meter: Meter, stream: TextIO) -> None:
        self._meter = meter
        self._stream = stream
        self._ended = threading.Event()
        # Held while a line is drawn or another writer has the terminal.
        self._drawing = threading.Lock()
        self._is_drawn = False
        is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        meter.pause = self._paused
        self._thread = threading.Thread(
            target=self._draw if is_terminal else self._write_lines, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        with self._paused():
            pass

    @contextmanager
    def _paused(self) -> Iterator[None]:
        with self._drawing:
            if self._is_drawn:
                self._stream.write(_ERASE_LINE)
                self._stream.flush()
                self._is_drawn = False
            yield

    def _draw(self) -> None:
        began = time.monotonic()
        if self._ended.wait(_QUIET_SECONDS):
            return
        bar = _Bar(Console(file=self._stream), began)
        while True:
            line = bar.render(self._meter.state)
            with self._drawing:
                self._stream.write(f"\r{line}\x1b[K")
                self._stream.flush()
                self._is_drawn = True
            if self._ended.wait(_DRAW_SECONDS):
                return

    def _write_lines(self) -> None:
        began = time.monotonic()
        bar = _Bar(Console(file=self._stream, width=200, no_color=True), began, has_bar=False)
        bar.render(self._meter.state)  # the rate is counted from here
        while not self._ended.wait(_LINE_SECONDS):
            self._stream.write(bar.render(self._meter.state).rstrip() + "\n")
            self._stream.flush()


class _KnownBar(ProgressColumn):
    """A bar for work whose total is known. A bar that stands still would look like a failure."""

    def render(self, task: Task) -> RenderableType:
        if task.total is None:
            return Text()
        return ProgressBar(task.total, task.completed, width=_BAR_WIDTH)


class _Bar:
    """One line about a meter: its part, a bar, the amount, the rate, and the remaining time."""

    def __init__(self, console: Console, began: float, *, has_bar: bool = True) -> None:
        self._console = console
        self._began = began
        self._is_narrow = console.width < _RATE_COLUMNS_MIN
        names = ("amount", "time") if self._is_narrow else ("amount", "rate", "time")
        fields = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in names]
        middle = [_KnownBar()] if has_bar and console.width >= _BAR_COLUMNS_MIN else []
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            *middle,
            *fields,
            console=console,
            auto_refresh=False,
        )
        self._part = ""
        self._row: TaskID | None = None

    def render(self, state: MeterState) -> str:
        """Return the line for a state, one column narrower than the terminal."""
        if self._row is None or state.part != self._part:
            if self._row is not None:
                self._progress.remove_task(self._row)
            self._part = state.part
            self._row = self._progress.add_task(state.part, total=None, amount="", rate="", time="")
        self._progress.update(self._row, completed=state.done, total=state.total or None)
        task = self._progress.tasks[0]
        # rich measures over its latest samples, so a rate follows the work.
        speed = task.speed or 0.0
        left = task.time_remaining if state.total else None
        spent = time.monotonic() - self._began
        self._progress.update(
            self._row,
            amount=_amount(state, with_total=not self._is_narrow),
            rate=_rate(state, speed),
            time=clock(spent) if left is None else f"{clock(left)} left",
        )
        width = self._console.width - 1
        with self._console.capture() as captured:
            self._console.print(self._progress.get_renderable(), width=width, no_wrap=True)
        return captured.get().partition("\n")[0].rstrip()


def _amount(state: MeterState, *, with_total: bool) -> str:
    if not state.done and not state.total:
        return ""
    show = human if state.unit == "bytes" else "{:,}".format
    total = f" of {show(state.total)}" if state.total and with_total else ""
    return f"{show(state.done)}{total}"


def _rate(state: MeterState, speed: float) -> str:
    if not speed:
        return ""
    return f"{human(speed)}/s" if state.unit == "bytes" else f"{speed:,.0f}/s"
