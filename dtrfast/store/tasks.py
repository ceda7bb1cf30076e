"""What the store wants done from time to time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """Work for the housekeeper. `run` is bounded: it does a step and returns; the next step comes
    next time. An eager task whose step did something, and says so, comes again sooner.
    """

    name: str
    interval_seconds: float
    run: Callable[[], object]
    eager: bool = False
