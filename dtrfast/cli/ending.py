"""The end of a command that is asked to stop: it removes what it has half done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ends_cleanly() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the block as Ctrl-C does, then end the command."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        if before[number] != signal.SIG_IGN:  # nohup
            signal.signal(number, _end)
    try:
        yield
    finally:
        for number in _SIGNALS:
            signal.signal(number, before[number])


def _end(number: int, frame: FrameType | None) -> None:
    for other in _SIGNALS:  # a second one must not cut off the removing
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)
