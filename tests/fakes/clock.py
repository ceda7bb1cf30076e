"""A clock that moves only when a test advances it."""

from __future__ import annotations


class Clock:
    """Seconds since the epoch, as an integer."""

    def __init__(self, now: int = 1_700_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: int) -> None:
        self.now += seconds
