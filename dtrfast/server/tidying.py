"""Periodic work of a serving process, for as long as its event loop runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# Space of packs that another process compacted is free after this time.
_SECONDS = 5.0


def keep_tidy(loop: asyncio.AbstractEventLoop, tidy: Callable[[], None]) -> None:
    """Call `tidy`, which takes a fraction of a millisecond, every few seconds."""

    def tidy_and_plan() -> None:
        tidy()
        loop.call_later(_SECONDS, tidy_and_plan)

    loop.call_later(_SECONDS, tidy_and_plan)
