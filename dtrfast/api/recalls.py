"""Recalls: a worker notices requests for uploads whose bodies it is receiving.

One timer serves all transfers of a worker. It reads a number that changes with a recall of any
upload in any worker. Only then it checks each of the worker's own uploads, on threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

# A request that has to stop notices it within this time (docs/uploads.md).
LOOK_SECONDS = 0.2


class Recallable(Protocol):
    """A transfer that can be stopped."""

    async def look_for_recall(self) -> None:
        """Stop if the upload was recalled."""
        ...


class RecallWatch:
    """The watch of one event loop. Its timer runs only while there are transfers."""

    def __init__(self) -> None:
        self._transfers: set[Recallable] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._seen = 0
        self._looks: set[asyncio.Task[None]] = set()

    def add(self, transfer: Recallable, number: Callable[[], int]) -> None:
        """Watch a transfer. `number` returns a number that changes with every recall."""
        self._transfers.add(transfer)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(LOOK_SECONDS, self._look, loop, number)

    def remove(self, transfer: Recallable) -> None:
        """Watch a transfer no longer."""
        self._transfers.discard(transfer)

    def _look(self, loop: asyncio.AbstractEventLoop, number: Callable[[], int]) -> None:
        self._timer = None
        if not self._transfers:
            return
        self._timer = loop.call_later(LOOK_SECONDS, self._look, loop, number)
        current = number()
        # The number may have changed before the first transfer. Then this is one check too many.
        if current != self._seen:
            self._seen = current
            for transfer in self._transfers:
                look = loop.create_task(transfer.look_for_recall())
                self._looks.add(look)
                look.add_done_callback(self._looks.discard)
