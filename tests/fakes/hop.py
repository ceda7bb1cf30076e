"""A hop to a thread, with the guarantees of `dtrfast.api.types.Hop`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class ThreadHop:
    """Returns only after the thread has finished, even when the caller is canceled."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(4)
        self.calls = 0

    async def run(self, function: Callable[..., T], *args: object) -> T:
        self.calls += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        canceled = False
        while not future.done():
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError:
                canceled = True
        if canceled:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        return future.result()

    def close(self) -> None:
        self._pool.shutdown()
