"""What a serving process does from time to time, as long as its event loop runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# Space of packs that others compacted is free within this time.
_SECONDS = 5.0


def keep_tidy(loop: asyncio.AbstractEventLoop, tidy: Callable[[], None]) -> None:
    """Call `tidy`, which takes a fraction of a millisecond, every few seconds."""

    def tidy_and_plan() -> None:
        tidy()
        loop.call_later(_SECONDS, tidy_and_plan)

    loop.call_later(_SECONDS, tidy_and_plan)
