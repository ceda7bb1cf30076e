"""Freed memory goes back to the kernel.

The allocator keeps what transfers gave up: after a hundred stalled pulls of 16 MB a worker held 161
MB for good. Returning each buffer at once (a low threshold for mmap) cost a quarter of the
throughput, so what lies free is given back from time to time.
"""

from __future__ import annotations

import asyncio
import ctypes

_TRIM_SECONDS = 5.0
# Two are enough for threads that spend their time in system calls and without the interpreter's
# lock.
ARENAS = {"MALLOC_ARENA_MAX": "2"}


def keep_trimmed(loop: asyncio.AbstractEventLoop) -> None:
    """Trim now and then, as long as the loop runs. Does nothing where the C library cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return

    def trim_and_plan() -> None:
        trim(0)
        loop.call_later(_TRIM_SECONDS, trim_and_plan)

    loop.call_later(_TRIM_SECONDS, trim_and_plan)
