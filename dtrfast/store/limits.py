"""The limits that administrators set while the server runs, as the store is told of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Limits of the disk space that the store takes, and of the time that its scrub takes."""

    # What scrub reads in a second, and how often it reads everything; 0 days: never.
    scrub_bytes_per_second: int = 32 << 20
    scrub_days: float = 30.0
    # Pushes are refused when less than this is free; of a small file system a twentieth.
    reserve_bytes: int = 1 << 30


class Limits:
    """The limits of one store. The settings are not the store's own: `read` gets them, anew at each
    look, and opens a transaction of its own. Without another `read` they are the defaults.
    """

    def __init__(self) -> None:
        self.read: Callable[[], StoreLimits] = StoreLimits
