"""Limits of the store that administrators can change while the server runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Limits of the disk space that the store takes, and of the time that its scrub takes."""

    # Bytes that scrub reads in a second, and the interval at which it reads everything; 0 days:
    # never.
    scrub_bytes_per_second: int = 32 << 20
    scrub_days: float = 30.0
    # Pushes are refused if less than this is free. On a small file system it is a twentieth.
    reserve_bytes: int = 1 << 30


class CurrentLimits:
    """The limits of one store. They are settings, which the store does not own.

    `read` returns the present limits, and opens a transaction of its own. It returns the defaults
    until the application replaces it.
    """

    def __init__(self) -> None:
        self.read: Callable[[], StoreLimits] = StoreLimits
