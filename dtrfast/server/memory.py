"""Returns freed memory to the kernel.

The allocator keeps the memory that transfers free: after a hundred stalled pulls of 16 MB a worker
held 161 MB until its end. Returning each buffer at once (a low threshold for mmap) cost a quarter
of the throughput. So free memory is returned every few seconds.
"""

from __future__ import annotations

import asyncio
import ctypes

_TRIM_SECONDS = 5.0
# The environment of a worker. Two arenas are enough, because the threads spend most of their time
# in system calls, or in compiled code without the interpreter's lock. Buffers of some MiB come from
# the arenas: with new memory from the kernel for each, two threads that replay segments of evicted
# layers took a fifth more time.
ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}


def keep_trimmed(loop: asyncio.AbstractEventLoop) -> None:
    """Return free memory every few seconds while the loop runs, if the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return

    def trim_and_plan() -> None:
        trim(0)
        loop.call_later(_TRIM_SECONDS, trim_and_plan)

    loop.call_later(_TRIM_SECONDS, trim_and_plan)
