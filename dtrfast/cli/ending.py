"""The end of a command on a signal: it removes its unfinished work first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ends_cleanly() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise `SystemExit` in the block, so that it cleans up."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        if before[number] != signal.SIG_IGN:  # `nohup` ignores SIGHUP
            signal.signal(number, _end)
    try:
        yield
    finally:
        for number in _SIGNALS:
            signal.signal(number, before[number])


def _end(number: int, frame: FrameType | None) -> None:
    for other in _SIGNALS:  # a second signal must not interrupt the cleanup
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)
