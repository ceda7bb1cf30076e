"""Connections that wait for their client, with one timer for all that have the same time limit.

They are in the order in which they began to wait, so a check only looks at those that it closes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

_LOOK_SECONDS_MAX = 1.0


class Closable(Protocol):
    """A connection that can be closed while it waits."""

    def close_idle(self) -> None:
        """Close, because the time is over or the server stops."""
        ...


class IdleConnections:
    """Closes connections that are idle for more than `limit_seconds`.

    Once it is closed itself, it closes each connection at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_seconds: float) -> None:
        self._loop = loop
        self._limit_seconds = limit_seconds
        self._since: OrderedDict[Closable, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._since)

    def add(self, connection: Closable) -> None:
        """Start the idle time of `connection`, again if it was idle before."""
        if self.is_closed:
            connection.close_idle()
            return
        self._since[connection] = self._loop.time()
        self._since.move_to_end(connection)
        if self._timer is None:
            self._look_later()

    def remove(self, connection: Closable) -> None:
        self._since.pop(connection, None)

    def close(self) -> None:
        """Close all connections, now and from now on, because the server stops."""
        self.is_closed = True
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
