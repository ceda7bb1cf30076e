"""Progress of long work: on terminals only, after two seconds, and without a trace."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable

import cyclopts
import pytest

from dtrfast.cli import app, progress
from dtrfast.cli.output import say
from dtrfast.cli.progress import MeterState
from tests.cli import terminal


def drawing(patch: pytest.MonkeyPatch, columns: int = 80) -> terminal.Terminal:
    """Return a terminal on standard error, on which progress appears at once.

    This is no fixture: pytest replaces the streams between the fixtures and the test.
    """
    patch.setattr(progress, "_QUIET_SECONDS", 0.0)
    patch.setattr(progress, "_DRAW_SECONDS", 0.005)
    return terminal.opened(patch, columns, "stderr")


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def screen(written: str) -> list[str]:
    """Return the states of the line in which the display draws."""
    states = re.split(r"\r(?!\n)", re.sub(r"\x1b\[[0-9;]*m", "", written))
    return [state.partition("\x1b[K")[0] for state in states if state]


def test_a_bar_shows_amount_rate_and_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = drawing(monkeypatch)
    with progress.shown("read all blobs", "bytes") as meter:
        meter.bytes(1 << 30, 4 << 30)
        until(lambda: "of 4 GiB" in stream.getvalue())
        meter.bytes(2 << 30, 4 << 30)
        until(lambda: "/s" in stream.getvalue())
    states = screen(stream.getvalue())
    drawn = [state for state in states if "/s" in state][-1]
    assert re.fullmatch(r"read all blobs [━╸╺ ]{24} 2 GiB of 4 GiB \S+ \S+/s +[\d:]+ left", drawn)
    assert all(len(state) < 80 for state in states)
    assert states[-1] == ""  # the line is empty again
    assert "\x1b[?25l" not in stream.getvalue()  # a killed command would leave no cursor


def test_work_without_a_total_shows_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = drawing(monkeypatch)
    with progress.shown("wait for the registry"):
        until(lambda: "0:00" in stream.getvalue())
    assert screen(stream.getvalue())[0].split() == ["wait", "for", "the", "registry", "0:00"]


def test_narrow_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (20, 40, 60):
        stream = drawing(monkeypatch, width)
        with progress.shown("read all blobs", "bytes") as meter:
            meter.bytes(1 << 30, 4 << 30)
            until(lambda: len(stream.getvalue()) > 100)  # noqa: B023 - called in the loop
        assert all(len(state) < width for state in screen(stream.getvalue())), width


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal.opened(monkeypatch, 80, "stderr")
    assert progress._QUIET_SECONDS == 2.0
    began = time.monotonic()
    with progress.shown("list") as meter:
        meter("list", 1, 2)
    assert time.monotonic() - began < 1  # the display does not hold the command up
    assert stream.getvalue() == ""


def test_a_log_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress._LINE_SECONDS == 30.0
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.005)
    for stream, term in ((io.StringIO(), "xterm"), (terminal.Terminal(), "dumb")):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", term)
        with progress.shown("copy", "bytes") as meter:
            meter.bytes(1 << 20, 4 << 20)
            until(lambda: "\n" in stream.getvalue())  # noqa: B023 - called in the loop
        line = stream.getvalue().splitlines()[0]
        assert line.startswith("copy 1 MiB of 4 MiB")
        assert "\r" not in stream.getvalue()
        assert "\x1b" not in stream.getvalue()


def test_one_work_at_a_time_has_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = drawing(monkeypatch)
    with progress.shown("outer"):
        with progress.shown("inner") as inner:
            inner("inner", 7)
        until(lambda: "outer" in stream.getvalue())
    assert "inner" not in stream.getvalue()


def test_a_line_in_the_middle_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = drawing(monkeypatch)
    monkeypatch.setattr(sys, "stdout", stream)  # both are the same terminal
    with progress.shown("read") as meter:
        until(stream.getvalue)
        meter.say(say, "found one")
        end = len(stream.getvalue())
        until(lambda: len(stream.getvalue()) > end)
    assert "\r\x1b[Kfound one\n" in stream.getvalue()


def test_an_interrupted_command_leaves_a_clean_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = drawing(monkeypatch)
    small = cyclopts.App(result_action="return_value", suppress_keyboard_interrupt=False)

    @small.command
    def work() -> None:
        with progress.shown("work"):
            until(stream.getvalue)
            raise KeyboardInterrupt

    monkeypatch.setattr(app, "app", small)
    assert app.run(["work"]) == 130
    assert stream.getvalue().endswith("\r\x1b[K")


def test_the_work_pays_for_one_assignment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The display reads the state by itself: a report neither draws nor waits."""
    stream = terminal.opened(monkeypatch, 80, "stderr")
    with progress.shown("read", "bytes") as meter:
        for done in range(1000):
            meter.bytes(done, 1000)
        assert meter.state == MeterState("read", 999, 1000, "bytes")
    assert stream.getvalue() == ""
