"""Connections that wait for their client: one timer for all that may wait equally long.

They stand in the order in which they began to wait, so that a look costs what it closes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

_LOOK_SECONDS_MAX = 1.0


class Closable(Protocol):
    """A connection, as far as it matters here."""

    def close_idle(self) -> None: ...


class IdleDoors:
    """Closes whoever is idle for more than `limit_seconds`, and everybody once it is closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_seconds: float) -> None:
        self._loop = loop
        self._limit_seconds = limit_seconds
        self._since: OrderedDict[Closable, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False

    def __len__(self) -> int:
        return len(self._since)

    def add(self, door: Closable) -> None:
        """`door` is idle from now on, even if it was before."""
        if self.closed:
            door.close_idle()
            return
        self._since[door] = self._loop.time()
        self._since.move_to_end(door)
        if self._timer is None:
            self._look_later()

    def remove(self, door: Closable) -> None:
        self._since.pop(door, None)

    def close(self) -> None:
        """The server stops: close all, now and from now on."""
        self.closed = True
        while self._since:
            self._since.popitem(last=False)[0].close_idle()

    def _look_later(self) -> None:
        seconds = min(self._limit_seconds / 4, _LOOK_SECONDS_MAX)
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        latest = self._loop.time() - self._limit_seconds
        while self._since and next(iter(self._since.values())) <= latest:
            self._since.popitem(last=False)[0].close_idle()
        if self._since:
            self._look_later()
