"""A worker's look for requests that want the uploads which it receives bodies for.

Many transfers cost one look. What is looked at changes with a recall of any upload in any worker;
only then are the worker's own uploads asked, on threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

# docs/uploads.md: a request that is to stop knows it within this time.
LOOK_SECONDS = 0.2


class Recallable(Protocol):
    """A transfer that can be stopped."""

    async def look_for_recall(self) -> None:
        """Stop, if the upload was recalled."""
        ...


class RecallWatch:
    """Of one event loop. It looks only while something is added."""

    def __init__(self) -> None:
        self._transfers: set[Recallable] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._seen = 0
        self._looks: set[asyncio.Task[None]] = set()

    def add(self, transfer: Recallable, number: Callable[[], int]) -> None:
        """`number` changes with every recall."""
        self._transfers.add(transfer)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(LOOK_SECONDS, self._look, loop, number)

    def remove(self, transfer: Recallable) -> None:
        self._transfers.discard(transfer)

    def _look(self, loop: asyncio.AbstractEventLoop, number: Callable[[], int]) -> None:
        self._timer = None
        if not self._transfers:
            return
        self._timer = loop.call_later(LOOK_SECONDS, self._look, loop, number)
        current = number()
        # What it was before the first transfer does not matter: one look too many.
        if current != self._seen:
            self._seen = current
            for transfer in self._transfers:
                look = loop.create_task(transfer.look_for_recall())
                self._looks.add(look)
                look.add_done_callback(self._looks.discard)
